"""Comparison of the written forms with the Keras model: figures, bounds, check."""

import contextlib
import datetime
import statistics
import time

import numpy as np

from keras_attention.export import tflite
from keras_attention.export.errors import ExportError
from keras_attention.machine import machine, versions

# For each form, the largest difference of an output (absolute, or as a fraction of the largest
# output if that is above 1) and the smallest fraction of equal decisions; `None` is no bound.
# "float32_rebuild" compares a model in mixed precision with its copy in float32.
BOUNDS = {
    "float32_rebuild": {"difference": None, "agreement": 0.95},
    "saved_model": {"difference": 1e-4, "agreement": 1.0},
    "tflite": {"difference": 1e-4, "agreement": 1.0},
    "tflite_float16": {"difference": 1e-2, "agreement": 0.99},
    "tflite_int8": {"difference": None, "agreement": 0.98},
    "tflite_full_int8": {"difference": None, "agreement": 0.98},
}

# Options whose reference values are closer than this count as the same decision.
_TIE = 1e-5
_WARM_UP, _REPEATS = 3, 20
# Batches that the Keras model reads operation by operation, which is slow where it has a loop.
_EAGER = 20


def keras_runner(signature, model):
    """A function from a dict of arrays to the Keras model's outputs, a dict of arrays."""
    return lambda batch: _arrays(signature.call(model, _tensors(batch)))


def _graph_runner(signature, model):
    """The same as one graph for inputs of any size."""
    import tensorflow as tf

    specs = {
        name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in signature.specs.items()
    }
    function = tf.function(lambda batch: signature.call(model, batch), input_signature=[specs])
    return lambda batch: _arrays(function(_tensors(batch)))


def saved_model_runner(signature, loaded):
    """The same for what `tf.saved_model.load` returned."""
    function = loaded.signatures[signature.name]
    return lambda batch: _arrays(function(**_tensors(batch)))


def tflite_runner(signature, path, plain_kernels=False):
    """The same for a TFLite file, on one thread: with XNNPACK, or with the plain kernels."""
    from ai_edge_litert import interpreter as litert

    options = {"model_path": str(path), "num_threads": 1}
    if plain_kernels:
        resolvers = litert.OpResolverType
        options["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    if signature.text:
        interpreter = litert.InterpreterWithCustomOps(
            custom_op_registerers=tflite.text_operators(), **options
        )
    else:
        interpreter = litert.Interpreter(**options)
    runner = interpreter.get_signature_runner(signature.name)
    return lambda batch: runner(**batch)


def reference(signature, model, batches):
    """The Keras model's outputs for each batch.

    Beyond the first batches it runs as one graph, if that gives the same for these.

    Raises:
        ExportError: If an output is NaN or infinite.
        ValueError: If the signature's `decision` names no output.
    """
    run = keras_runner(signature, model)
    outputs = list(map(run, batches[:_EAGER]))
    named = signature.decision
    if isinstance(named, str) and named != "auto" and named not in outputs[0]:
        raise ValueError(
            f"`decision` of signature `{signature.name}` must be one of its outputs "
            f"{list(outputs[0])}. Received: decision={named!r}"
        )
    if len(batches) > _EAGER:
        graph = _graph_runner(signature, model)
        # If it is not the same, or cannot be traced, this shows where the graph is written.
        with contextlib.suppress(ExportError):
            check("graph", signature, graph, batches[:_EAGER], outputs, BOUNDS["saved_model"])
            run = graph
        outputs += map(run, batches[_EAGER:])
    for name in outputs[0]:
        if not all(_is_finite(output[name]) for output in outputs):
            raise ExportError(
                f"Output `{name}` of signature `{signature.name}` is not finite on `samples`: "
                "the model itself computes NaN or infinity"
            )
    return outputs


def check(form, signature, run, batches, expected, bound, kernels=""):
    """Figures of one form of one signature: `difference`, `agreement` and `rows`.

    Raises:
        ExportError: If the form does not run, has other shapes, or exceeds its bound.
    """
    where = f"`{form}`, signature `{signature.name}`{kernels}"
    try:
        got = [run(batch) for batch in batches]
    except Exception as error:
        is_empty = any(not array.size for batch in batches for array in batch.values())
        why = " (not all kernels take the samples' axis of length 0)" if is_empty else ""
        raise ExportError(f"{where}: the written form does not run{why}: {error}") from error
    for outputs, others in zip(expected, got, strict=True):
        shapes = [{name: x.shape for name, x in side.items()} for side in (outputs, others)]
        if shapes[0] != shapes[1]:
            raise ExportError(
                f"{where}: the outputs have the shapes {shapes[1]}, the Keras model's {shapes[0]}"
            )
    pairs = list(zip(expected, got, strict=True))
    figures = {
        # np.max and not max(): the latter drops NaN.
        "difference": float(
            np.max(
                [
                    _difference(a[name], b[name])
                    for a, b in pairs
                    for name in a
                    # Where numbers may differ, a string that they choose is a decision.
                    if a[name].dtype != object or bound["difference"] is not None
                ],
                initial=0.0,
            )
        ),
        "agreement": _agreement(signature.decision, pairs),
        "rows": sum(len(next(iter(batch.values()))) for batch in batches),
    }
    scale = max(1.0, *(_largest(x) for outputs in expected for x in outputs.values()))
    if not _within(figures, bound, scale):
        raise ExportError(
            f"{where} drifts: largest difference {figures['difference']:.3g} (bound "
            f"{_text(bound['difference'])}, largest output {scale:.3g}), agreement "
            f"{_text(figures['agreement'])} on {figures['rows']} rows (bound "
            f"{_text(bound['agreement'])}). Remove the form from `formats`, or, if that is good "
            f"enough, pass `bounds={{{form!r}: ...}}`."
        )
    return figures


def milliseconds(run, signature, batch):
    """Median time of a call with one row, or with the signature's fixed batch size."""
    fixed = any(shape[0] for shape, _ in signature.specs.values())
    batch = batch if fixed else {name: array[:1] for name, array in batch.items()}
    times = []
    for _ in range(_WARM_UP + _REPEATS):
        start = time.perf_counter()
        run(batch)
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[_WARM_UP:]), 4)


def surroundings():
    """Date, machine and versions of the measurement."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
    }


def _tensors(batch):
    import tensorflow as tf

    return {
        name: tf.constant(array, tf.string if array.dtype == object else array.dtype)
        for name, array in batch.items()
    }


def _arrays(tensors):
    import tensorflow as tf

    return {
        name: (
            tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else tf.convert_to_tensor(x)
        ).numpy()
        for name, x in tensors.items()
    }


def _is_finite(values):
    return values.dtype == object or bool(np.isfinite(values).all())


def _largest(values):
    return 0.0 if values.dtype == object or not values.size else float(np.abs(values).max())


def _difference(values, others):
    if values.dtype == object:  # strings
        return 0.0 if np.array_equal(values, others) else np.inf
    if not values.size:
        return 0.0
    return np.abs(values.astype("float64") - others.astype("float64")).max()


def _agreement(decision, pairs):
    """The fraction of equal decisions, or `None` if there are none."""
    if decision is None:
        return None
    if callable(decision):
        agree = [np.equal(decision(a), decision(b)) for a, b in pairs]
    else:
        names = [next(iter(a)) if decision == "auto" else decision for a, _ in pairs]
        agree = [_agree(a[name], b[name]) for name, (a, b) in zip(names, pairs, strict=True)]
    agree = np.concatenate([np.ravel(x) for x in agree])
    return float(agree.mean()) if agree.size else None


def _agree(values, others):
    """Which decisions are equal, if `values` are the reference's."""
    if not np.issubdtype(values.dtype, np.floating):
        return np.equal(values, others)  # a decision already
    if values.ndim < 2 or values.shape[-1] == 1:
        return ((values > 0.5) == (others > 0.5)) | (np.abs(values - 0.5) <= _TIE)
    chosen = np.take_along_axis(values, others.argmax(-1)[..., None], -1)[..., 0]
    return chosen >= values.max(-1) - _TIE


def _within(figures, bound, scale):
    """Whether figures are within their bound; a difference of NaN or infinity never is."""
    difference, agreement = figures["difference"], figures["agreement"]
    if not np.isfinite(difference):
        return False
    if bound["difference"] is not None and not difference <= bound["difference"] * scale:
        return False
    return agreement is None or bound["agreement"] is None or agreement >= bound["agreement"]


def _text(figure):
    return "none" if figure is None else f"{figure:.4g}"
