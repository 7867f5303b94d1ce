"""Exports of the recipes: writing them, what the model card says of them, and running them.

figures = export(model, folder, formats=FORMS, signatures=[...], files={"items.txt": lines})
run = runner(folder / "model.tflite", "recommend")      # run(history=array) -> dict of arrays
"""

import functools
import json

from recipes.kit.errors import UserError, cannot_load
from recipes.kit.quiet import without_remarks

FORMS = {
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "saved_model": "saved_model",
}


# What is rounded may differ from the model: the card tells how far. An error at the end of a long
# training would leave its user with nothing; below these shares of equal decisions, a broken file.
_ROUNDED = {
    form: {"difference": None, "agreement": least}
    for form, least in (("tflite_float16", 0.9), ("tflite_int8", 0.5), ("tflite_full_int8", 0.5))
}
_ALIKE = 0.98  # share of equal decisions below which a note is printed
TEXT_SIGNATURE = (
    "let TFLite files take raw text, too: 0.7 MB more, and operators that few phones have"
)
OF_IDS_ALONE = (  # for a model card
    " Here the TFLite files have no signatures of raw text (`--no-text-signature`), and any "
    "interpreter runs them."
)


def export(
    model, folder, *, formats, signatures, bounds=None, files=None, timed=None, adds=False,
    text_signature=True, **kwargs,
):  # fmt: skip
    """`ka.export_model` with files beside the forms, which are also attached to each TFLite file.

    Args:
        model, signatures: As for `ka.export_model`.
        folder: Path.
        formats: List of forms, of `FORMS` or others of `ka.export_model`.
        bounds: As for `ka.export_model`; by default loose for forms of rounded weights.
        files: Dict from the name of a file to its lines, a list of strings.
        timed: Dict from a figure's name to the signature whose time it is; by default
            `milliseconds` of the first.
        adds: Whether other forms have been exported to the folder, whose part of `parity.json`
            stays.
        text_signature: Whether TFLite files have the signatures of raw texts, too. Tokenizers
            take some 700 KB, and operators that few phones have. Without, times are of the first
            signature of each form.
        kwargs: Further arguments of `ka.export_model`.

    Returns:
        Dict from the name of a form's file to what the model card says of it: `bytes`, the
        `milliseconds` of a call and the `agreement` of the worst signature.

    Raises:
        UserError: If a form does not compute what the model does, or cannot be written.
    """
    import keras_attention as ka

    of_ids = [signature for signature in signatures if text_signature or not signature.text]
    if len(of_ids) < len(signatures):
        both = (
            [form for form in formats if form == "saved_model"],
            [form for form in formats if form != "saved_model"],
        )
        figures = {}
        for part, taken in zip(both, (signatures, of_ids), strict=True):
            if part:
                figures |= export(
                    model, folder, formats=part, signatures=taken, bounds=bounds, files=files,
                    adds=adds or bool(figures), **kwargs,
                )  # fmt: skip
        return figures
    timed = timed or {"milliseconds": signatures[0].name}
    parity = folder / "parity.json"
    before = json.loads(parity.read_text()) if adds else {"forms": {}}
    contents = {name: "\n".join(lines) for name, lines in (files or {}).items()}
    try:
        report = ka.export_model(
            model,
            folder,
            formats=formats,
            signatures=signatures,
            bounds={**_ROUNDED, **(bounds or {})},
            attach={name: content.encode() for name, content in contents.items()},
            **kwargs,
        )
    except ka.ExportError as error:
        raise UserError(f"The export does not compute what the model does: {error}") from error
    if adds:
        merged = {**before, "forms": {**before["forms"], **report["forms"]}}
        parity.write_text(json.dumps(merged, indent=2) + "\n")
    for name, content in contents.items():
        (folder / name).write_text(content + "\n" if content else "", encoding="utf-8")
    figures = {
        form["file"]: {
            "bytes": form["bytes"],
            **{
                name: form["signatures"][signature]["milliseconds"]
                for name, signature in timed.items()
            },
            "agreement": min(one["agreement"] for one in form["signatures"].values()),
        }
        for form in report["forms"].values()
        if "file" in form
    }
    for file, figure in figures.items():
        share = figure["agreement"]
        if share is not None and share < _ALIKE:
            print(f"  Note: {file} decides as the model does for {share:.1%} of the examples")
    return figures


def compiled(function, inputs=None):
    """A signature's function, as one graph also where an export runs it eagerly, to compare.

    A loop then takes no time for each of its operations. An export traces it anew: what was
    compiled for use here may go in blocks.

    Args:
        function: Function `(model, **tensors)` to a dict of tensors.
        inputs: Dict of the signature's inputs, as for `ka.Signature`: it is then traced once, for
            tensors of these sizes, and not for each that comes.
    """
    import tensorflow as tf

    specs = {name: tf.TensorSpec(*spec, name) for name, spec in (inputs or {}).items()}

    @functools.cache
    def graph_of(model):
        # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
        return tf.function(
            lambda tensors: function(model, **tensors),
            input_signature=[specs] if specs else None,
            autograph=False,
            reduce_retracing=not specs,
        )

    def run(model, **tensors):
        if tf.inside_function():
            return function(model, **tensors)
        return graph_of(model)(tensors)

    return run


def one_by_one(rows):
    """A dataset of arrays of ids of any length, each as a batch `(1, T)`, or `(1, T, F)`, alone."""
    import tensorflow as tf

    shape = (1, None, *rows[0].shape[1:])
    return tf.data.Dataset.from_generator(
        lambda: (row[None] for row in rows), output_signature=tf.TensorSpec(shape, tf.int32)
    )


def runner(path, signature, *, otherwise=None, operators=()):
    """An exported model, to be called.

    Args:
        path: Path of a TFLite file or of the folder of a SavedModel.
        signature: String, which of its signatures to run.
        otherwise: String, which to run if it has no such signature.
        operators: Registrars of the operators that it needs beyond TFLite's own.

    Returns:
        Function from inputs, by name, to a dict of arrays. Its `shapes` are those of the inputs,
        its `signature` is the one that it runs.

    Raises:
        UserError: If it cannot be loaded.
    """
    try:
        load = _of_saved_model if path.is_dir() else _of_tflite
        return load(path, [signature, otherwise], operators)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise cannot_load(path, error) from error


def _first(wanted, has):
    """The first wanted signature that a model has; else the first, of which an error will tell."""
    return next((name for name in wanted if name in has), wanted[0])


def _of_saved_model(path, wanted, operators):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = _first(wanted, loaded.signatures)
    function = loaded.signatures[signature]

    def run(**inputs):
        tensors = {name: tf.constant(x) for name, x in inputs.items()}
        return {name: x.numpy() for name, x in function(**tensors).items()}

    run.loaded, run.signature = loaded, signature  # what it holds is freed with it
    run.shapes = {name: spec.shape for name, spec in function.structured_input_signature[1].items()}
    return run


def _of_tflite(path, wanted, operators):
    from ai_edge_litert import interpreter as litert

    interpreter = litert.InterpreterWithCustomOps(
        model_path=str(path), custom_op_registerers=list(operators)
    )
    signature = _first(wanted, interpreter.get_signature_list())
    call = interpreter.get_signature_runner(signature)

    def run(**inputs):
        with without_remarks():  # it tells of its kernels when it first runs
            return call(**inputs)

    run.shapes = {name: x["shape"] for name, x in call.get_input_details().items()}
    run.signature = signature
    return run
