"""A classifier of images in use: its figures, its exports, and an export that answers."""

import numpy as np

from recipes.kit import classes, exports, run_folder

LABELS = "labels.txt"
_SHOWN = 100  # classes in the card's table, at most


def measure(labels, probabilities):
    """Accuracy, log loss, macro F1 and expected calibration error, as a dict."""
    error = classes.calibration_error(labels, probabilities)
    return {**classes.measure(labels, probabilities), "calibration_error": error}


def described(data, probabilities):
    """What `metrics.json` and the model card tell of the classes.

    Args:
        data: `recipes.data.labelled_images.LabelledImages`.
        probabilities: Array `(N, C)`, of the test images.

    Returns:
        Dict of details, and a dict with a section of the card.
    """
    counted = {part: split.labels for part, split in data.splits.items()}
    rows = classes.by_class(data.labels, counted, data.test.labels, probabilities.argmax(axis=1))
    few = dict(list(rows.items())[:_SHOWN])
    section = (
        "`calibration_error` is how far the probability of the answer is from how often it is "
        "right, the mean over 15 bins (Guo et al., 2017).\n\n" + classes.table(few)
    )
    return {"classes": rows}, {"Classes": section}


def export(model, folder, labels, images):
    """Writes all forms, which take images of any size.

    Args:
        model: The model to use, as `recipes.image_classification.build_model` returns it.
        folder: Path.
        labels: List of strings, the classes.
        images: uint8 `(N, size, size, 3)`, on which the forms are compared.

    Returns:
        As `kit.exports.export`.
    """
    import tensorflow as tf

    import keras_attention as ka

    size = model.input_shape[1:3]

    def classify(model, image):
        image = tf.image.resize(tf.cast(image, tf.float32), size)
        return model(image, training=False)

    spec = {"image": ((None, None, None, 3), "uint8")}
    signature = ka.Signature("image", classify, spec, {"image": images}, decision="probability")
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[signature],
        files={LABELS: labels},
    )


def reader(folder, file):
    """A function from an image to its label, the label's probability and the weights `(H, W)`.

    Args:
        folder: Path of a run.
        file: String, the name of an export in it.

    Raises:
        UserError: If a part of it cannot be read.
    """
    labels = run_folder.read_lines(folder / LABELS)
    run = exports.runner(folder / file, "image")

    def read(image):
        outputs = run(image=np.ascontiguousarray(image[None]))
        best = int(outputs["probability"][0].argmax())
        return labels[best], float(outputs["probability"][0, best]), outputs["weights"][0]

    return read


def draw(image, caption, weights, path):
    """Draws the image, and beside it where in it the model looked."""
    import keras_attention as ka

    ka.plot_image_attention(image, weights, [caption]).savefig(path)
