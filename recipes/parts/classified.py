"""A classifier of images in use: its figures, its exports, and predictions by an export."""

import dataclasses
from pathlib import Path

import numpy as np

from recipes.data import images as image_data
from recipes.kit import classes, exports, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.flags import argument, option

LABELS = "labels.txt"
_SHOWN = 100  # classes in the card's table, at most


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    images: tuple[Path, ...] = argument("image files to classify", nargs="*")
    png: Path | None = option(None, "also draw the attention weights, for a single image")


def measure(labels, probabilities):
    """Accuracy, log loss, macro F1 and expected calibration error, as a dict."""
    error = classes.calibration_error(labels, probabilities)
    return {**classes.measure(labels, probabilities), "calibration_error": error}


def described(data, probabilities):
    """What `metrics.json` and the model card say of the classes.

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
        "`calibration_error` is the mean difference between the probability of the answer and the "
        "accuracy, over 15 bins weighted by their size (Guo et al., 2017).\n\n" + classes.table(few)
    )
    return {"classes": rows}, {"Classes": section}


def card(config, data, section):
    """The words of the model card, with a section of its own for the classes.

    Args:
        config: A `recipes.image_classification.Config`.
        data: `recipes.data.labelled_images.LabelledImages`.
        section: Dict from the heading of the section to its Markdown.
    """
    shown = ", ".join(data.labels[:10]) + (", ..." if len(data.labels) > 10 else "")
    where = (
        "the CBAM weights of the positions in its last stage, each between 0 and 1"
        if config.attention == "blocks"
        else "the weights of the positions of a grid in the pooling, which sum to one"
    )
    return {
        "What it does": (
            f"Classifies an image into one of {len(data.labels)} classes ({shown}). It returns the "
            f"probability of each class, and as `weights` {where}."
        ),
        "Limits": (
            "Every image gets one of these classes, even if it shows none of them. The model was "
            "trained on images of one kind, resized to a square, and is less accurate on others. "
            "The features of each position depend on its surroundings, so the weights are coarse. "
            "Do not use it to decide about people."
        ),
        **section,
        "How to use": (
            "    python -m recipes.image_classification predict FOLDER photo.jpg --png "
            "look.png\n\n"
            "All forms take `image`, uint8 `(batch, height, width, 3)` of any size, and give "
            "`probability` `(batch, classes)` and `weights` `(batch, rows, columns)`. Line n of "
            "`labels.txt`, from 0, is class n; the file is also in each TFLite file, which is a "
            "zip archive too."
        ),
    }


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
    import keras_attention as ka

    size = model.input_shape[1]

    def classify(model, image):
        return model(squashed(image, size), training=False)

    spec = {"image": ((None, None, None, 3), "uint8")}
    signature = ka.Signature("image", classify, spec, {"image": images}, decision="probability")
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[signature],
        files={LABELS: labels},
    )


def squashed(images, size):
    """Images `(B, H, W, 3)` of any size as those to train with: float32 `(B, size, size, 3)`.

    As Pillow's bilinear filter has it, pixel p of `size` is a mean of the given pixels q

        weight = max(0, 1 - |(p + 1/2) s - (q + 1/2)| / max(s, 1)),  s = given / size

    over rows, then over columns: of a large photo all pixels count, not every tenth alone.
    """
    import tensorflow as tf

    def weights(given):  # (size, given)
        given = tf.cast(given, tf.float32)
        scale = given / size
        middles = (tf.range(size, dtype=tf.float32) + 0.5) * scale
        apart = tf.abs(middles[:, None] - (tf.range(given) + 0.5))
        weights = tf.maximum(0.0, 1.0 - apart / tf.maximum(scale, 1.0))
        return weights / tf.reduce_sum(weights, axis=1, keepdims=True)

    height, width = tf.shape(images)[1], tf.shape(images)[2]
    x = tf.reshape(tf.cast(images, tf.float32), (-1, height, 3 * width))
    x = tf.reshape(weights(height) @ x, (-1, size, width, 3))
    x = tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, width, 3 * size))
    x = tf.reshape(weights(width) @ x, (-1, size, size, 3))
    return tf.transpose(x, (0, 2, 1, 3))


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


def answer(config, recipe, forms):
    """Prints the class of each image, and draws the attention weights.

    Args:
        config: A `PredictConfig`.
        recipe: String, the recipe's name.
        forms: Dict, form to the name of its file.

    Raises:
        UserError: If there is no such model, no image, or the picture cannot be written.
    """
    run_folder.find_run(config.folder, recipe=recipe, files=[forms[config.form], LABELS])
    if not config.images:
        raise UserError("Expected one image file or more. Received none")
    if config.png and len(config.images) > 1:
        raise UserError(f"Expected a single image with --png. Received: {len(config.images)}")
    read = reader(config.folder, forms[config.form])
    for path in config.images:
        image = image_data.read_file(path)
        label, probability, weights = read(image)
        shown = f"{label} {probability:.3f}"
        print(f"{path}: {shown}" if len(config.images) > 1 else shown, flush=True)
        if config.png:
            with writing("--png", config.png):
                draw(image, shown, weights, config.png)


def draw(image, caption, weights, path):
    """Draws the image, and beside it the image darkened where the weights are small."""
    import keras_attention as ka

    ka.plot_image_attention(image, weights, [caption]).savefig(path)
