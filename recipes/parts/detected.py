"""A detector in use: what it finds in images, its exports, and its drawings.

find = finder(model, most=100, overlap=0.5)
found = find(images, sizes)                      # for each image boxes, scores, classes
export(model, folder, images, sizes, labels, first=image, most=100, overlap=0.5)
answer(config, NAME, FORMS)                      # of a `PredictConfig` of the recipe
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from recipes.data import images as image_data
from recipes.kit import exports, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.flags import argument, option
from recipes.parts.average_precision import overlaps
from recipes.parts.squashed import squash

FILE = "labels.txt"
SHOWN = 0.3  # the score from which a box is drawn, and compared
_BATCH = 16
_SAME = 0.9  # intersection over union from which two boxes are one
_EXACT = 0.98  # share of equal boxes, below which an export in float32 is wrong
_IN_FLOAT32 = (exports.FORMS["saved_model"], exports.FORMS["tflite"])


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    images: tuple[Path, ...] = argument("image files to search", nargs="*")
    score: float = option(SHOWN, "lowest score of a box that is listed", low=0.0, high=1.0)
    format: str = option("text", "how boxes are printed", choices=("text", "jsonl"))
    png: Path | None = option(None, "also draw the boxes, for a single image")


def card(config, of_class):
    """The words of the model card, for the recipe's `Config` and the figures of each class."""
    rows = "".join(
        f"| {label} | {figures['AP50']:.4f} | {figures['AP']:.4f} |\n"
        for label, figures in of_class.items()
    )
    looks = config.attention in ("full", "self")
    return {
        "What it does": (
            f"Finds objects of {len(of_class)} classes in an image ({', '.join(of_class)}), each "
            "with a box, a score and a label."
            + " For each box it returns the `weights` with which the cell at its centre attends to "
            "the cells of the image; they sum to one."
            * looks
            + "\n\n![What was found in the first test image](found.png)"
        ),
        "How it was measured": (
            "`mAP50` and `mAP` are COCO's: the mean over the classes of the average precision at "
            "an intersection over union of 0.5, and over thresholds from 0.5 to 0.95. A box "
            "around an object that is not annotated counts as wrong.\n\n"
            f"| class | AP50 | AP |\n| --- | --- | --- |\n{rows}\n"
            "`thresholds of colours` are intervals of colours learned for each class, and boxes "
            "around connected pixels within them. `agreement` is the share of boxes with a score "
            f"of at least {SHOWN:g} that the file and the Keras model have in common: the same "
            f"class, and an intersection over union above {_SAME:g}."
        ),
        "Limits": (
            "It was trained on objects of these classes, in the sizes and the light of its "
            "training images, and is less accurate on others. Of objects that hide each other it "
            "may miss some or find one twice. A score is not a calibrated probability. A person "
            "must check the boxes wherever health or safety depends on them."
        ),
        "How to use": (
            "    python -m recipes.object_detection predict FOLDER photo.jpg --png found.png\n\n"
            f"`detect` takes `image`, uint8 `(B, {config.height}, {config.width}, 3)`: images "
            "resized to this height and width; and `size`, int32 `(B, 2)`: the height and width "
            "of each before. It returns `boxes` `(B, K, 4)` (left, top, right, bottom in pixels "
            "of the image before), `scores` and `classes` `(B, K)`, and `count` `(B,)`, the "
            "number of boxes found; the boxes after these have the score 0. Line n of "
            "`labels.txt`, from 0, is class n; the file is also in each TFLite file, which is a "
            "zip archive too."
        ),
    }


def search(model, image, size, *, most, overlap):
    """`detector.detect` of the outputs of a model for uint8 images."""
    from recipes.parts import detector

    maps = model(image, training=False)
    return detector.detect(
        maps["heat"], maps["sides"], size, most=most, overlap=overlap, weights=maps.get("weights")
    )


def finder(model, *, most, overlap):
    """A function from images and their sizes to boxes, scores and classes; compiled once."""
    import tensorflow as tf

    def run(images, sizes):
        found = search(model, images, sizes, most=most, overlap=overlap)
        return {name: found[name] for name in ("boxes", "scores", "classes", "count")}

    # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
    compiled = tf.function(run, autograph=False)

    def find(images, sizes):
        rows = []
        for start in range(0, len(images), _BATCH):
            places = np.arange(start, start + _BATCH)
            places = np.minimum(places, len(images) - 1)  # another size would be traced anew
            found = compiled(tf.constant(images[places]), tf.constant(sizes[places]))
            rows += _rows({name: x.numpy() for name, x in found.items()})
        return rows[: len(images)]

    return find


def _rows(found):
    """A triple of boxes, scores and classes for each image."""
    columns = (found[name] for name in ("boxes", "scores", "classes", "count"))
    return [
        (boxes[:count], scores[:count], kinds[:count])
        for boxes, scores, kinds, count in zip(*columns, strict=True)
    ]


# ------------------------------------------------------------------------------- exports


def export(model, folder, images, sizes, labels, *, first, most, overlap):
    """Writes all forms, compares them with the model box by box, and draws what one finds.

    Args:
        model: The model to use, as `recipes.object_detection.build_model` returns it.
        folder: Path.
        images, sizes: As of `squashed.Pictures`, on which the forms are compared.
        labels: List of the names of the classes.
        first: uint8 `(h, w, 3)`, the first of the pictures before it was squashed, to draw.
        most, overlap: As for `detector.detect`.

    Returns:
        As `kit.exports.export`; `agreement` is the share of equal boxes, see `agreement`.
    """
    import keras_attention as ka

    def detect(model, image, size):
        return search(model, image, size, most=most, overlap=overlap)

    inputs = {"image": ((None, *images.shape[1:]), "uint8"), "size": ((None, 2), "int32")}
    samples = {"image": images, "size": sizes}
    free = {"difference": None, "agreement": None}  # boxes are compared below, in any order
    figures = exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[
            ka.Signature("detect", exports.compiled(detect, inputs), inputs, samples, decision=None)
        ],
        bounds=dict.fromkeys((*exports.FORMS, "float32_rebuild"), free),
        files={FILE: labels},
    )
    truth = finder(model, most=most, overlap=overlap)(images, sizes)
    for file, figure in figures.items():
        run = exports.runner(folder / file, "detect")
        found = [
            row
            for image, size in zip(images, sizes, strict=True)
            for row in _rows(run(image=image[None], size=size[None]))
        ]
        figure["agreement"] = share = agreement(truth, found)
        if file in _IN_FLOAT32 and share < _EXACT:
            raise UserError(
                f"The export does not compute what the model does: {file} has {share:.1%} of its "
                "boxes"
            )
    outputs = detect(model, images[:1], sizes[:1])
    outputs = {name: np.asarray(x) for name, x in outputs.items()}
    draw(first, _found(outputs, images.shape[1:3], labels, SHOWN), folder / "found.png")
    return figures


def agreement(found, others):
    """The share of boxes that two models have in common.

    Of each side count the boxes with a score of `SHOWN` or more; such a box is in common if the
    other side has one of its class, of any score, that overlaps it by more than 0.9.

    >>> box = np.array([[0.0, 0, 10, 10]]), np.array([0.9]), np.array([1])
    >>> moved = np.array([[0.0, 0, 10, 9.5]]), np.array([0.2]), np.array([1])
    >>> agreement([box], [moved]), agreement([box], [(*moved[:2], np.array([0]))])
    (1.0, 0.0)
    """
    same = []
    for one, other in zip(found, others, strict=True):
        for (boxes, scores, kinds), (against, _, of_kinds) in ((one, other), (other, one)):
            chosen = scores >= SHOWN
            close = overlaps(boxes[chosen], against) > _SAME
            same += (close & (kinds[chosen][:, None] == of_kinds)).any(axis=1).tolist()
    return float(np.mean(same)) if same else 1.0


# ------------------------------------------------------------------------------- predict


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found in a picture.

    Attributes:
        boxes: Floats `(n, 4)`: left, top, right, bottom in pixels.
        scores: Floats `(n,)`.
        labels: List of n strings.
        weights: Floats `(n, h, w)`, where the network looked for each box; or `None`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: list
    weights: np.ndarray | None


def reader(folder, file, least=SHOWN):
    """A function from an image uint8 `(h, w, 3)` to what a trained model finds in it, a `Found`.

    Args:
        folder: Path of a run.
        file: Name of the export in it.
        least: The least score.
    """
    labels = run_folder.read_lines(folder / FILE)
    run = exports.runner(folder / file, "detect")
    height, width = (int(side) for side in run.shapes["image"][1:3])

    def read(image):
        size = np.array([image.shape[:2]], "int32")
        outputs = run(image=squash(image, height, width)[None], size=size)
        if outputs["classes"].max(initial=0) >= len(labels):
            raise UserError(
                f"{folder / FILE} names nothing readable: it has fewer labels than the model has "
                "classes"
            )
        return _found(outputs, (height, width), labels, least)

    return read


def _found(outputs, size, labels, least):
    """What the outputs for a single picture, squashed to this size, say of it."""
    from recipes.parts.detector import COARSEST

    chosen = outputs["scores"][0] >= max(least, 1e-9)
    weights = outputs.get("weights")
    if weights is not None:
        weights = weights[0][chosen].reshape(-1, *(side // COARSEST for side in size))
    return Found(
        outputs["boxes"][0][chosen],
        outputs["scores"][0][chosen],
        [labels[number] for number in outputs["classes"][0][chosen]],
        weights,
    )


def answer(config, name, forms):
    """The command `predict`: lists the boxes in images, and draws them.

    Args:
        config: A `PredictConfig` with a `form`.
        name: String, the recipe's name.
        forms: Dict from the name of a form to its file.
    """
    file = forms[config.form]
    run_folder.find_run(config.folder, recipe=name, files=[file, FILE])
    if not config.images:
        raise UserError("Expected one image file or more. Received none")
    if config.png and len(config.images) > 1:
        raise UserError(f"Expected a single image with --png. Received: {len(config.images)}")
    read = reader(config.folder, file, config.score)
    for path in config.images:
        image = image_data.read_file(path)
        found = read(image)
        _tell(path, found, config)
        if config.png:
            with writing("--png", config.png):
                draw(image, found, config.png)


def _tell(path, found, config):
    rows = list(zip(found.labels, found.scores.tolist(), found.boxes.tolist(), strict=True))
    if config.format == "jsonl":
        boxes = [
            {"label": label, "score": round(score, 4), "box": [round(side, 1) for side in box]}
            for label, score, box in rows
        ]
        print(json.dumps({"image": str(path), "boxes": boxes}), flush=True)
        return
    start = f"{path}: " if len(config.images) > 1 else ""
    if not rows:
        print(f"{start}nothing found with a score of {config.score:g} or more", flush=True)
    for label, score, box in rows:
        sides = ", ".join(f"{side:.0f}" for side in box)
        print(f"{start}{label} {score:.2f} ({sides})", flush=True)


def draw(image, found, path):
    """Draws an image with its boxes and, beside it, the mean of their attention weights."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    panels = 2 if found.weights is not None and len(found.labels) else 1
    figure = Figure(figsize=(6 * panels, 6 * height / width + 0.4), layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False)[0]
    names = sorted(set(found.labels))
    for axes in grid:
        axes.set_axis_off()
        axes.imshow(image)
    for label, score, (left, top, right, bottom) in zip(
        found.labels, found.scores, found.boxes, strict=True
    ):
        colour = f"C{names.index(label) % 10}"
        grid[0].add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, lw=2, ec=colour)
        )
        grid[0].text(
            left, top, f"{label} {score:.2f}", size=8, color="white", va="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    grid[0].set_title("found", pad=14)
    if panels == 2:
        weights = found.weights.mean(axis=0)
        grid[1].imshow(
            weights, extent=(0, width, height, 0), cmap="magma", alpha=0.65, vmin=0,
            interpolation="nearest",
        )  # fmt: skip
        grid[1].set_title("attention weights, mean over the boxes", pad=14)
    figure.savefig(path, dpi=110)
