"""Exports of the recipes: writing them, what the model card says of them, and running them.

figures = export(model, folder, formats=FORMS, signatures=[...], files={"items.txt": lines})
run = runner(folder / "model.tflite", "recommend")      # run(history=array) -> dict of arrays
"""

import numpy as np

from recipes.kit.errors import UserError, cannot_load
from recipes.text import wordpiece


def export(model, folder, *, signatures, files=None, timed=None, **kwargs):
    """`ka.export_model` with files beside the forms, which are also attached to each TFLite file.

    Args:
        model, signatures: As for `ka.export_model`.
        folder: Path.
        files: Dict from the name of a file to its lines, a list of strings.
        timed: Dict from a figure's name to the signature whose time it is; by default
            `milliseconds` of the first.
        kwargs: Further arguments of `ka.export_model`.

    Returns:
        Dict from the name of a form's file to what the model card says of it: `bytes`, the
        `milliseconds` of a call and the `agreement` of the worst signature.

    Raises:
        UserError: If a form does not compute what the model does, or cannot be written.
    """
    import keras_attention as ka

    timed = timed or {"milliseconds": signatures[0].name}
    contents = {name: "\n".join(lines) for name, lines in (files or {}).items()}
    try:
        report = ka.export_model(
            model,
            folder,
            signatures=signatures,
            attach={name: content.encode() for name, content in contents.items()},
            **kwargs,
        )
    except ka.ExportError as error:
        raise UserError(f"The export does not compute what the model does: {error}") from error
    for name, content in contents.items():
        (folder / name).write_text(content + "\n" if content else "", encoding="utf-8")
    return {
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


def export_classifier(model, folder, *, formats, labels, vocabulary, tokenizer, texts, ids):
    """Exports a classifier of ids to forms that read raw text or ids, one text at a time.

    Args:
        model: Keras model from ids `(B, T)` to a dict with `probability` `(B, C)`.
        folder: Path.
        formats: List of forms, as `ka.export_model` takes them.
        labels, vocabulary: Lists of strings.
        tokenizer: What `wordpiece.fast_tokenizer` returns.
        texts: List of strings on which the forms are compared.
        ids: The same, as ids.

    Returns:
        As `export`.
    """
    import tensorflow as tf

    import keras_attention as ka

    names, pieces = tf.constant(labels), tf.constant(vocabulary)

    def read_ids(model, ids):
        # An empty text gets one step of padding: TFLite's kernels do not all take none.
        missing = tf.maximum(1 - tf.shape(ids)[1], 0)
        ids = tf.pad(ids, [[0, 0], [0, missing]])
        return {"ids": ids, **model(ids, training=False)}

    def read_text(model, text):
        outputs = read_ids(model, tokenizer.tokenize(text).to_tensor())
        # `argmax` of floats has no TFLite operator.
        best = tf.math.top_k(outputs["probability"], 1).indices[:, 0]
        return {
            "label": tf.gather(names, best),
            "pieces": tf.gather(pieces, outputs["ids"]),
            **outputs,
        }

    # One text at a time, as a phone does: long ones then cost no padding.
    text_rows = tf.data.Dataset.from_tensor_slices(texts).batch(1)
    return export(
        model,
        folder,
        formats=formats,
        signatures=[
            ka.Signature(
                "text", read_text, {"text": ((None,), "string")}, text_rows,
                resources=[tokenizer], text=True, decision="probability",
            ),
            ka.Signature(
                "ids", read_ids, {"ids": ((None, None), "int32")}, one_by_one(ids),
                decision="probability",
            ),
        ],
        files={"vocabulary.txt": vocabulary, "labels.txt": labels},
    )  # fmt: skip


def one_by_one(rows):
    """A dataset of arrays of ids of any length, each as a batch `(1, T)` of its own."""
    import tensorflow as tf

    return tf.data.Dataset.from_generator(
        lambda: (row[None] for row in rows), output_signature=tf.TensorSpec((1, None), tf.int32)
    )


def runner(path, signature, *, text=False):
    """An exported model, to be called.

    Args:
        path: Path of a TFLite file or of the folder of a SavedModel.
        signature: String, which of its signatures to run.
        text: Whether that one reads raw text, and needs the operators of tensorflow-text.

    Returns:
        Function from inputs, by name, to a dict of arrays; its `shapes` are those of the inputs.

    Raises:
        UserError: If it cannot be loaded.
    """
    operators = wordpiece.tensorflow_text().tflite_registrar.SELECT_TFTEXT_OPS if text else ()
    try:
        load = _of_saved_model if path.is_dir() else _of_tflite
        return load(path, signature, operators)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise cannot_load(path, error) from error


def text_runner(path, signature="text"):
    """A function from a list of texts to the outputs of a `runner`."""
    run = runner(path, signature, text=True)
    return lambda texts: run(text=np.array([text.encode() for text in texts]))


def _of_saved_model(path, signature, operators):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures[signature]

    def run(**inputs):
        tensors = {name: tf.constant(x) for name, x in inputs.items()}
        return {name: x.numpy() for name, x in function(**tensors).items()}

    run.loaded = loaded  # what it holds is freed with it
    run.shapes = {name: spec.shape for name, spec in function.structured_input_signature[1].items()}
    return run


def _of_tflite(path, signature, operators):
    from ai_edge_litert import interpreter as litert

    interpreter = litert.InterpreterWithCustomOps(
        model_path=str(path), custom_op_registerers=list(operators)
    )
    call = interpreter.get_signature_runner(signature)

    def run(**inputs):
        return call(**inputs)

    run.shapes = {name: x["shape"] for name, x in call.get_input_details().items()}
    return run
