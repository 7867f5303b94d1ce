"""Export of a Keras model to SavedModel and TFLite files that are compared with it."""

import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_attention.export import fixed_sizes, float32, parity, tflite
from keras_attention.export.errors import ExportError
from keras_attention.export.quiet import quiet
from keras_attention.export.signature import Signature, from_model
from keras_attention.target import for_tflite

_FILES = {
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "tflite_full_int8": "model_full_int8.tflite",
}
_REPORT = "parity.json"
_INSTALL = 'pip install "keras-attention-layers[export]"'


def export_model(
    model: keras.Model,
    folder: str | os.PathLike[str],
    samples: Any = None,
    *,
    formats: str | Sequence[str] = ("saved_model", "tflite", "tflite_int8"),
    signatures: Sequence[Signature] | None = None,
    decision: str | Callable[..., Any] | None = "auto",
    bounds: Mapping[str, Mapping[str, float | None]] | None = None,
    attach: Mapping[str, bytes] | None = None,
    calibration_rows: int = 200,
) -> dict[str, Any]:
    """Exports a model to SavedModel and TFLite, reloads each file and compares it with the model.

    ====================  ==========================  ======================================
    format                written to                  what it is
    ====================  ==========================  ======================================
    `saved_model`         `saved_model/`              TensorFlow's own format, for servers
    `tflite`              `model.tflite`              float32
    `tflite_float16`      `model_float16.tflite`      weights in float16, half the size
    `tflite_int8`         `model_int8.tflite`         weights in int8, a quarter of the size
    `tflite_full_int8`    `model_full_int8.tflite`    activations in int8 too; see below
    ====================  ==========================  ======================================

    Files are written to a temporary folder and moved into `folder` at the end: an export that fails
    does not change the folder. Files of other formats are not touched.

    **Comparison.** The written forms run on the samples; `parity.json` and the returned dict give,
    for each form and signature, the largest absolute difference from the Keras model, the fraction
    of equal decisions, the size and the time of a call. TFLite files run with XNNPACK and with the
    plain kernels, and both must meet the bounds of `ka.export.BOUNDS`. The difference is bounded
    as a fraction of the largest output if that is above 1; decisions whose two best options are
    closer than 1e-5 count as equal.

    **TFLite** files contain builtin operators only, which any interpreter has; the error names a
    layer that needs another. Signatures with `text=True` may use those of `tensorflow_text`: such a
    signature runs in an interpreter that has them (in Python
    `ai_edge_litert.interpreter.InterpreterWithCustomOps(custom_op_registerers=
    tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS)`), the file's other signatures in any. A
    SavedModel with such a signature loads only after `import tensorflow_text`.

    **Fixed sizes.** Browsers (LiteRT.js), NPUs and LiteRT's `CompiledModel` need files whose sizes
    are all fixed, including the batch size. Fix them in a signature, as in
    `{"ids": ((1, 64), "int32")}`, or in the model, by `keras.Input(batch_shape=(1, 64))`. Keras'
    own recurrent layers convert for a fixed batch size only; `ka.ExportableRNN` does not need one.

    **Mixed precision.** The kernels have no half precision: a model with such a policy is rebuilt
    from its config in float32, with its own weights, and the copy is exported. The report compares
    the copy with the model under `float32_rebuild`.

    **Full integer quantization.** Inputs and outputs keep their types. Attention weights stay in
    float: each softmax (also sparsemax and entmax), from the multiplication that computes the
    scores to the one that averages the values. In int8 a masked score takes the resolution from
    all others, and weights below 1/256, as most are over hundreds of steps, become zero: a trained
    classifier of up to 512 steps fell to an agreement of 0.5, and keeps 1.0 this way. A model with
    a loop is an error, as the converter cannot quantize one.

    Args:
        model: A built Keras model.
        folder: Path of the folder to write into; created if needed.
        samples: Samples of the model's own inputs, as in `Signature`. Not with `signatures`.
        formats: One or several of the formats above.
        signatures: List of `Signature`, for other inputs than the model's own. By default one,
            `serving_default`, from the inputs and outputs of a functional model, with their names
            and unknown sizes.
        decision: See `Signature`. Not with `signatures`.
        bounds: Dict of form to the bounds that replace those of `ka.export.BOUNDS`, such as
            `{"tflite_int8": {"agreement": 0.95}}`; a bound of `None` bounds nothing.
        attach: Dict of file name to bytes, such as a vocabulary, appended to each TFLite file as
            a zip archive. Interpreters ignore it; `zipfile.ZipFile("model.tflite")` reads it.
        calibration_rows: Positive integer, the number of rows that calibrate each signature for
            full integer quantization, spread evenly over the samples.

    Returns:
        The content of `parity.json`, a dict of `date`, `machine`, `versions` and `forms`, with
        `["forms"][form]["signatures"][name]` holding `difference`, `agreement`, `rows`,
        `milliseconds` (median of a call with one row; TFLite on one thread) and, for TFLite,
        `plain_kernels` with the first three; `["forms"][form]["bytes"]` is the size.

    Raises:
        ExportError: If a form exceeds its bound or cannot be written, if the model returns NaN or
            infinity, or if the Keras backend is not TensorFlow.
        ImportError: If a TFLite format is requested without `ai_edge_litert`, or a signature has
            `text=True` without `tensorflow_text`.
        ValueError: If an argument is not as described, such as a `folder` that is a file.

    Example:
        >>> model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2)])
        >>> report = ka.export_model(model, "exported", samples)  # doctest: +SKIP
        >>> report["forms"]["tflite_int8"]["signatures"]["serving_default"]  # doctest: +SKIP
        {'difference': 0.004, 'agreement': 1.0, 'rows': 100, 'milliseconds': 0.01, ...}

        Raw text and ids as inputs of one file, with shared weights:

        >>> tokenizer = tensorflow_text.FastBertTokenizer(words)  # doctest: +SKIP
        >>> def read(model, text):
        ...     ids = tokenizer.tokenize(text).to_tensor()
        ...     return {"probability": model(ids, training=False)}
        >>> ka.export_model(  # doctest: +SKIP
        ...     model,
        ...     "exported",
        ...     signatures=[
        ...         ka.Signature("text", read, {"text": ((None,), "string")}, texts,
        ...                      resources=[tokenizer], text=True),
        ...         ka.Signature("ids", lambda model, ids: {"probability": model(ids)},
        ...                      {"ids": ((None, None), "int32")}, ids),
        ...     ],
        ...     attach={"vocabulary.txt": "\\n".join(words).encode()},
        ... )
    """
    formats = _check_arguments(formats, signatures, samples, attach, calibration_rows)
    folder = _check_folder(folder)
    bounds = _merged(bounds)
    original, model = model, float32.in_float32(model)
    if signatures is None:
        signatures = [from_model(model, samples, decision)]
    tests = [_Test(signature, model) for signature in signatures]

    report = parity.surroundings() | {"forms": {}}
    if model is not original:
        report["forms"]["float32_rebuild"] = _rebuild_figures(original, tests, bounds)
    with _beside(folder) as staged:
        written = _write_forms(model, staged, formats, tests, bounds, attach, calibration_rows)
        report["forms"] |= written
        (staged / _REPORT).write_text(json.dumps(report, indent=2) + "\n")
        _move(staged, folder, [_FILES[form] for form in written] + [_REPORT])
    return report


@contextlib.contextmanager
def _beside(folder):
    """A temporary folder beside another; on failure new parent folders are removed too."""
    missing = [path for path in folder.parents if not path.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield staged
        finally:
            shutil.rmtree(staged)
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):  # never made, or no longer empty
                path.rmdir()
        raise


class _Test:
    """A signature with its samples and the Keras model's outputs for them."""

    def __init__(self, signature, model):
        self.signature = signature
        self.batches = signature.batches()
        self.expected = parity.reference(signature, model, self.batches)

    def check(self, form, run, bounds, kernels=""):
        return parity.check(
            form, self.signature, run, self.batches, self.expected, bounds[form], kernels
        )

    def rows(self, count):
        """`count` rows for calibration, spread evenly, as batches that the signature takes."""
        fixed = any(shape[0] for shape, _ in self.signature.specs.values())
        rows = self.batches if fixed else [row for batch in self.batches for row in _rows(batch)]
        step = max(1, len(rows) // count)
        return [(self.signature.name, row) for row in rows[::step][:count]]


def _rows(batch):
    count = len(next(iter(batch.values())))
    return [{name: array[i : i + 1] for name, array in batch.items()} for i in range(count)]


def _check_arguments(formats, signatures, samples, attach, calibration_rows):
    """The formats as a tuple; raises an error for arguments that do not fit."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ExportError(
            f"export_model needs the TensorFlow backend, and this is {backend}. Save the model "
            "with `model.save('model.keras')` and export it from a process started with "
            "KERAS_BACKEND=tensorflow, after `keras.saving.load_model('model.keras', "
            f"compile=False)`. What that process needs: {_INSTALL}"
        )
    formats = (formats,) if isinstance(formats, str) else tuple(formats)
    if not formats or not set(formats) <= set(_FILES):
        raise ValueError(f"`formats` must be some of {list(_FILES)}. Received: formats={formats!r}")
    if (signatures is None) == (samples is None):
        raise ValueError("Pass either `samples` or `signatures`, which hold their own samples")
    names = [signature.name for signature in signatures or ()]
    if signatures is not None and (not names or len(set(names)) < len(names)):
        raise ValueError(f"`signatures` must have one or more different names. Received: {names}")
    if attach is not None and not all(isinstance(value, bytes) for value in attach.values()):
        raise ValueError("`attach` must be a dict of file name to bytes")
    if not isinstance(calibration_rows, int) or calibration_rows < 1:
        raise ValueError(
            "`calibration_rows` must be a positive integer. "
            f"Received: calibration_rows={calibration_rows!r}"
        )
    if set(formats) != {"saved_model"} and not importlib.util.find_spec("ai_edge_litert"):
        raise ImportError(
            "TFLite files are checked with LiteRT's interpreter (ai-edge-litert), which is not "
            f"installed: {_INSTALL}"
        )
    return formats


def _check_folder(folder):
    """The folder as a path; raises a `ValueError` if it or one of its parents is a file."""
    folder = pathlib.Path(folder)
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(
                "`folder` must be the path of a folder, new or old. "
                f"Received: folder={str(folder)!r}, where {str(path)!r} is a file"
            )
    return folder


def _merged(bounds):
    merged = {form: dict(bound) for form, bound in parity.BOUNDS.items()}
    for form, bound in (bounds or {}).items():
        if form not in merged or not set(bound) <= {"difference", "agreement"}:
            raise ValueError(
                f"`bounds` must map some of {list(merged)} to a dict with `difference`, "
                f"`agreement` or both. Received: {form!r}: {bound!r}"
            )
        merged[form] |= bound
    return merged


def _rebuild_figures(original, tests, bounds):
    """Figures of the float32 copy against the model in mixed precision."""
    form = "float32_rebuild"
    figures = {
        test.signature.name: test.check(form, parity.keras_runner(test.signature, original), bounds)
        for test in tests
    }
    return {"bounds": bounds[form], "signatures": figures}


def _write_forms(model, folder, formats, tests, bounds, attach, calibration_rows):
    """Writes and checks each form in the folder; returns the report's entries."""
    import tensorflow as tf

    signatures = [test.signature for test in tests]
    if any(signature.text for signature in signatures):
        tflite.text_operators()  # the import registers the operators with TensorFlow
    path = folder / _FILES["saved_model"]
    # TFLite is converted from what is traced here.
    is_server_only = set(formats) == {"saved_model"}
    with quiet(), contextlib.nullcontext() if is_server_only else for_tflite():
        _write_saved_model(model, path, signatures)
    if not is_server_only:
        fixed_sizes.rewrite(path)
    nodes = tflite.GraphNodes(path, signatures, model)
    converter = tflite.Converter(path, signatures, nodes)
    if "tflite_full_int8" in formats:
        with quiet():  # it loads the SavedModel
            tflite.refuse_loops(nodes)

    forms = {}
    for form in formats:
        if form == "saved_model":
            with quiet():
                loaded = tf.saved_model.load(str(path))
            figures = {
                test.signature.name: _timed(
                    test, form, parity.saved_model_runner(test.signature, loaded), bounds
                )
                for test in tests
            }
        else:
            calibration = [row for test in tests for row in test.rows(calibration_rows)]
            with quiet():
                content = converter.convert(form, calibration)
            file = folder / _FILES[form]
            file.write_bytes(content)
            _append(file, attach or {})
            figures = {
                test.signature.name: _tflite_figures(test, form, file, bounds) for test in tests
            }
        forms[form] = {
            "file": _FILES[form],
            "bytes": _size(folder / _FILES[form]),
            "bounds": bounds[form],
            "signatures": figures,
        }
    return forms


def _tflite_figures(test, form, file, bounds):
    with quiet():
        run = parity.tflite_runner(test.signature, file)
        figures = _timed(test, form, run, bounds)
        plain = parity.tflite_runner(test.signature, file, plain_kernels=True)
        return figures | {"plain_kernels": test.check(form, plain, bounds, ", without XNNPACK")}


def _timed(test, form, run, bounds):
    figures = test.check(form, run, bounds)
    return figures | {"milliseconds": parity.milliseconds(run, test.signature, test.batches[0])}


def _write_saved_model(model, path, signatures):
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    for signature in signatures:
        for resource in signature.resources:
            archive.track(resource)
        inputs = signature.specs.items()
        specs = [tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in inputs]
        archive.add_endpoint(signature.name, _endpoint(signature, model), specs)
    archive.write_out(str(path), verbose=False)


def _endpoint(signature, model):
    def endpoint(*tensors):
        return signature.call(model, dict(zip(signature.inputs, tensors, strict=True)))

    return endpoint


def _append(file, attach):
    """Appends a zip archive, which is read from the end of a file, TFLite from its start."""
    if attach:
        with zipfile.ZipFile(file, "a") as archive:
            for name, content in attach.items():
                archive.writestr(name, content)


def _size(path):
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _move(staged, folder, names):
    """Moves all of `names` from one folder into the other, or none."""
    folder.mkdir(exist_ok=True)
    replaced = staged / ".replaced"
    replaced.mkdir()
    done = []
    try:
        for name in names:
            if (folder / name).exists():
                (folder / name).rename(replaced / name)
            done.append(name)
            (staged / name).rename(folder / name)
    except BaseException:
        for name in reversed(done):
            if (folder / name).exists():
                (folder / name).rename(staged / name)
            if (replaced / name).exists():
                (replaced / name).rename(folder / name)
        raise
