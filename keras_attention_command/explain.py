"""`keras-attention explain`: whether the steps with the largest weights decide the prediction."""

import keras
import numpy as np

import keras_attention as ka
from keras_attention.export.signature import as_inputs
from keras_attention_command.errors import UserError, reason
from keras_attention_command.files import (
    check_can_draw,
    joined,
    load_model,
    read_samples,
    written,
)
from keras_attention_command.maps import weights_of
from keras_attention_command.table import table

_DRAWS = 5  # of random weights
_SHOWN = 10  # rows on the page


def run(arguments):
    """Prints comprehensiveness and sufficiency beside those of random weights; writes the page."""
    if arguments.html:
        check_can_draw("--html", arguments.html)
    model = load_model(arguments.model, arguments.modules)
    batches = read_samples(arguments.samples, model)
    inputs = _only_input(batches)
    predict = _predictor(model)
    name, weights = _weights(weights_of(model, batches), inputs, arguments.layer)
    inputs, weights = _of_class(predict, inputs, weights, arguments.class_id)
    if len(inputs) < 2:
        raise UserError("Expected at least two rows, to tell chance from more. Received one")
    generator = np.random.default_rng(arguments.seed)
    try:
        own = ka.faithfulness(predict, inputs, weights, padding=arguments.padding)
        draws = [
            ka.faithfulness(
                predict, inputs, generator.random(weights.shape), padding=arguments.padding
            )
            for _ in range(_DRAWS)
        ]
    except ValueError as error:
        raise UserError(error) from error
    print(_report(name, own, draws, arguments.class_id))
    if arguments.html:
        _write_page(arguments, predict, inputs, weights)


def _write_page(arguments, predict, inputs, weights):
    """The page of `ka.explanation_report`, with the first rows if these are ids."""
    report = ka.explanation_report(
        predict, inputs, weights, padding=arguments.padding, seed=arguments.seed
    )
    rows = inputs[:_SHOWN] if inputs.ndim == 2 else []
    title = f"Are the maps of {arguments.model.name} true?"
    with written(arguments.html) as path:
        page = report.to_html(title, [[f"{number:g}" for number in row] for row in rows])
        path.write_text(page, encoding="utf-8")
    print(f"\n{report.sentence}\nWrote {arguments.html}")


def _only_input(batches):
    """The array of the model's only input."""
    inputs = joined(batches)
    ((name, array),) = inputs.items() if len(inputs) == 1 else [(list(inputs), None)]
    if array is None:
        raise UserError(f"Expected a model with one input, to erase steps of. Received: {name}")
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf":
        raise UserError(
            "Expected an input of numbers, (rows, steps) or (rows, steps, features). Received: "
            f"{name!r} with {array.ndim} axes of {array.dtype}"
        )
    return array


def _predictor(model):
    """A function from inputs to the model's only output."""
    if len(model.outputs) > 1:
        raise UserError(
            f"Expected a model with one output. Received: {[x.name for x in model.outputs]}"
        )

    rows = model.inputs[0].shape[0] or 32

    def predict(inputs):
        batches = np.split(inputs, range(rows, len(inputs), rows))
        batches = [as_inputs(model, [batch]) for batch in batches]
        # Sixty times: `model.predict` would set up each anew.
        try:
            outputs = [model.predict_on_batch(batch) for batch in batches]
        except Exception as error:  # each backend raises its own, as for a padding that is no id
            raise UserError(f"The model cannot run without some steps: {reason(error)}") from error
        return np.concatenate([keras.tree.flatten(output)[0] for output in outputs])

    return predict


def _weights(maps, inputs, layer):
    """Name and weights of the chosen layer, or of the only one with a weight per step."""
    shapes = {name: weights.shape for name, weights in maps.items()}
    if layer is not None and layer not in maps:
        raise UserError(f"Expected as --layer one of {list(maps)}. Received: {layer!r}")
    fit = [name for name, shape in shapes.items() if shape == inputs.shape[:2]]
    if layer is not None and layer not in fit:
        raise UserError(
            f"Expected an attention layer with one weight per step of the input, "
            f"{inputs.shape[:2]}. Received: {layer!r} with {shapes[layer]}"
        )
    if not fit:
        raise UserError(
            "Expected an attention layer with one weight per step of the input, "
            f"{inputs.shape[:2]}, such as AttentionPooling has. The model's have: {shapes}"
        )
    if layer is None and len(fit) > 1:
        raise UserError(
            f"Expected --layer, as several have one weight per step of the input: {', '.join(fit)}"
        )
    name = layer or fit[0]
    return name, maps[name]


def _of_class(predict, inputs, weights, class_id):
    """Inputs and weights of the rows that are predicted to be of a class."""
    if class_id is None:
        return inputs, weights
    probabilities = predict(inputs).reshape(len(inputs), -1)
    count = max(2, probabilities.shape[1])
    if not 0 <= class_id < count:
        raise UserError(f"--class must be from 0 to {count - 1}. Received: {class_id}")
    if probabilities.shape[1] == 1:
        predicted = (probabilities[:, 0] > 0.5).astype(int)
    else:
        predicted = probabilities.argmax(axis=-1)
    rows = predicted == class_id
    if not rows.any():
        raise UserError(
            f"Expected rows that the model predicts to be of --class {class_id}. There are none"
        )
    return inputs[rows], weights[rows]


def _report(name, own, draws, class_id):
    """Both figures in numbers and in words."""
    random = {
        figure: np.mean([draw[figure] for draw in draws], axis=0)
        for figure in ("comprehensiveness", "sufficiency")
    }
    rows = [("", name, "random weights")]
    rows += [(f, f"{own[f].mean():.3f}", f"{random[f].mean():.3f}") for f in random]
    count = len(own["sufficiency"])
    which = "" if class_id is None else f" predicted as class {class_id}"
    return "\n".join(
        [
            f"{count} rows{which}. How far the probability of the predicted class falls",
            "  comprehensiveness: without the steps of the largest weights (larger: they count)",
            "  sufficiency: with these steps alone (smaller: no others count)",
            "Means over 1, 5, 10, 20 and 50 % of the steps of each row.",
            "",
            table(rows),
            "",
            _verdict(own["comprehensiveness"] - random["comprehensiveness"], _NEEDED),
            _verdict(random["sufficiency"] - own["sufficiency"], _ENOUGH),
        ]
    )


# For weights that do better than random ones, as well, and worse.
_NEEDED = (
    "The model needs the steps of the largest weights more than random ones.",
    "The model needs the steps of the largest weights no more than random ones, as far as these "
    "rows tell.",
    "The model needs the steps of the largest weights less than random ones.",
)
_ENOUGH = (
    "These steps alone keep the prediction better than random ones.",
    "These steps alone keep the prediction no better than random ones, as far as these rows tell.",
    "These steps alone keep the prediction worse than random ones.",
)


def _verdict(gain, sentences):
    """The sentence for a gain per row: more than two standard errors are no chance."""
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    better, same, worse = sentences
    if abs(gain.mean()) <= 2 * error:
        return same
    return better if gain.mean() > 0 else worse
