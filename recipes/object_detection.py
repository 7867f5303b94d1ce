"""Object detection: which objects are in an image, and where, as boxes with a label and a score.

Trains a small network on images with boxes, and exports it as a SavedModel and as TFLite files that
include the whole search: they take an image and return boxes. `predict` lists the boxes in image
files, and draws them beside the attention weights.

Model (objects as points). Convolutions with strides make grids with cells of 4, 8 and 16 pixels
along each side. Each residual block ends in convolutional block attention (CBAM), and on the
coarsest grid every cell attends to all others by self-attention. The grids are then upsampled and
added, up to cells of four pixels. For each of these the network predicts the probability that the
centre of an object of each class lies in it (focal loss), and the distances to the sides of its box
(generalized intersection over union). Local maxima of the probability are the boxes. `--attention
self` or `cbam` has only one of the two, `none` neither. The saved model has the moving average of
the weights.

Figures: mean average precision at an intersection over union of 0.5 (mAP50) and over 0.5 to 0.95
(mAP), as COCO defines them.

Data: "toy" (drawn; offline); a folder with a table boxes.csv (also tsv, jsonl, gzip; columns split,
image, label, xmin, ymin, xmax, ymax in pixels), train.csv and test.csv, or COCO's JSON files,
beside images/ or images.zip; or a set of TensorFlow Datasets, such as "tfds:voc/2007".

    python -m recipes.object_detection train --data toy
    python -m recipes.object_detection train --data FOLDER --mirror both
    python -m recipes.object_detection predict saved_models/object_detection a.jpg --png found.png

Score: not measured yet.

References: Zhou et al., 2019 (objects as points), https://arxiv.org/abs/1904.07850; Liu et al.,
2020 (TTFNet: cells around the centre learn the sides), https://arxiv.org/abs/1909.00700; Woo et
al., 2018 (CBAM), https://arxiv.org/abs/1807.06521; Srinivas et al., 2021 (attention on the coarsest
grid), https://arxiv.org/abs/2101.11605. A backbone of our own, trained from scratch.
"""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np

from recipes.baselines import colours
from recipes.data import boxes as box_data
from recipes.kit import fitting, flags, processes, records
from recipes.kit.errors import UserError
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, default, option
from recipes.kit.running import Run
from recipes.parts import average_precision, detected, squashed

NAME = "object_detection"
ATTENTIONS = ("full", "self", "cbam", "none")


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    data: str = option(
        "toy", "toy, tfds:NAME or a folder with images/ and boxes.* or train.*, test.*"
    )
    output: Path = default(Path("saved_models") / NAME)
    validation_fraction: float = option(
        0.1, "share of the training images to validate on, without a split for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    height: int | None = option(
        None, "height in pixels to which images are resized, a multiple of 16 (default: 192, or 64 "
        "for toy)", low=32, high=1024,
    )  # fmt: skip
    width: int | None = option(
        None, "width in pixels to which images are resized, a multiple of 16 (default: 256, or 96 "
        "for toy)", low=32, high=1024,
    )  # fmt: skip
    # Network.
    attention: str = option(
        "full", "full: CBAM and self-attention; or one of them, or none", choices=ATTENTIONS
    )
    filters: int = option(
        16,
        "filters of the finest grid, a multiple of 8; the others have 2 and 4 times as many",
        low=8,
    )
    blocks: int = option(1, "residual blocks on each of the two finer grids", low=0, high=8)
    look_blocks: int = option(1, "self-attention blocks on the coarsest grid", low=1, high=8)
    heads: int = option(4, "heads of self-attention; must divide 4 x --filters", low=1)
    dropout: float = option(0.1, "dropout rate of the self-attention blocks", low=0.0, high=0.9)
    # Training.
    mirror: str = option(
        "sides", "swap left and right at random (sides), also top and bottom (both), or neither",
        choices=("none", "sides", "both"),
    )  # fmt: skip
    zoom: float = option(0.25, "largest share by which images are scaled", low=0.0, high=0.9)
    stretch: float = option(
        0.1, "largest share by which the aspect ratio is changed", low=0.0, high=0.9
    )
    colour: float = option(
        0.15, "largest share by which brightness, contrast and colours are changed", low=0.0,
        high=0.9,
    )  # fmt: skip
    box_loss: float = option(2.0, "weight of the loss of the boxes", low=0.0, high=100.0)
    epochs: int = default(40)
    patience: int = default(40)
    batch_size: int = default(4)
    learning_rate: float = default(0.003)
    # Search.
    most_boxes: int = option(100, "most boxes of an image", low=1, high=1000)
    overlap: float = option(
        0.5, "intersection over union above which only the better of two boxes of a class is kept",
        low=0.05, high=1.0,
    )  # fmt: skip
    baselines: bool = option(
        True, "also measure thresholds of colours and the same network without attention"
    )
    parity_images: int = option(50, "test images on which the exports are compared", low=1)


@dataclasses.dataclass(frozen=True)
class PredictConfig(detected.PredictConfig):
    """What `predict` can be told."""

    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def settle_size(config):
    """The config with height and width."""
    height, width = (64, 96) if config.data == "toy" else (192, 256)
    config = dataclasses.replace(
        config, height=config.height or height, width=config.width or width
    )
    for name in ("height", "width"):
        if getattr(config, name) % 16:
            raise UserError(f"--{name} must be a multiple of 16. Received: {getattr(config, name)}")
    if config.filters % 8 or 4 * config.filters % config.heads:
        raise UserError(
            "--filters must be a multiple of 8, and --heads must divide 4 x --filters. "
            f"Received: --filters {config.filters} --heads {config.heads}"
        )
    return config


def build_model(config, classes, typical, attention):
    """The detector, once to train and once to use; both share all weights.

    Args:
        config: A `Config` with height and width.
        classes: Integer C.
        typical: Positive number, median distance in pixels from the centre of a box to its sides.
        attention: One of `ATTENTIONS`.

    Returns:
        The model to train, uint8 images `(B, H, W, 3)` to `heat` `(B, H/4, W/4, C)`, logits, and
        `sides` `(B, H/4, W/4, 4)`, pixels; and the one to use, with self-attention also `weights`
        `(B, S, S)` of the S cells of the coarsest grid.
    """
    import keras
    from keras import layers, ops

    from recipes.parts import detector

    def blocks(x):
        for _ in range(config.blocks):
            x = detector.residual(x, cbam=attention in ("full", "cbam"))
        return x

    image = keras.Input((config.height, config.width, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(ops.cast(image, "float32"))
    # Kernels of an even size keep the cells of all grids in line with the picture.
    x = detector.convolve(x, config.filters // 2, kernel=4, strides=2)
    finest = blocks(detector.convolve(x, config.filters, kernel=2, strides=2))
    finer = blocks(detector.convolve(finest, 2 * config.filters, kernel=2, strides=2))
    x, found = detector.convolve(finer, 4 * config.filters, kernel=2, strides=2), {}
    inner = config.look_blocks, config.dropout, config.seed
    if attention in ("full", "self"):
        x, found["weights"] = detector.look_around(x, config.heads, *inner)
    else:
        x = detector.stay(x, *inner)
    x = detector.merge(detector.merge(x, finer), finest)
    rare = -math.log(1 / 0.02 - 1)  # most cells are no middle
    maps = {
        "heat": detector.head(x, classes, "heat", bias=rare),
        "sides": detector.Sides(typical, dtype="float32", name="sides")(
            detector.head(x, 4, "log_sides")
        ),
    }
    return keras.Model(image, maps, name=NAME), keras.Model(image, {**maps, **found}, name=NAME)


def compile_model(config, model, batches):
    """Losses and optimizer."""
    import keras

    from recipes.parts import detector

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches))
    momentum = fitting.momentum(config.averaging, batches)
    model.compile(
        keras.optimizers.AdamW(
            rate, weight_decay=1e-4, global_clipnorm=10.0, use_ema=True, ema_momentum=momentum
        ),
        {"heat": detector.focal_loss, "sides": detector.overlap_loss},
        loss_weights={"heat": 1.0, "sides": config.box_loss},
    )


def train(config):
    """Train a detector, measure it beside its baselines, and export it."""
    processes.need_one("Batch normalization")
    config = settle_size(config)
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(box_data.BoxReader, config).load(config.data)
    import keras

    from recipes.parts.box_batches import Augmentation, BoxBatches

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        pictures, whole = squashed.prepare(data, config.height, config.width)
        for note in whole.notes[len(data.notes) :]:
            print(f"  Note: {note}")
        data = whole
        truths = pictures["train"].squashed
        corners = np.concatenate([boxes for boxes, _ in truths])
        typical = float(np.median(corners[:, 2:] - corners[:, :2])) / 2

        def fit(attention, name=None):
            """Trains a model: that of the run, or with a name one to compare with."""
            keras.utils.set_random_seed(config.seed)
            batches = BoxBatches(
                pictures["train"].images, truths, len(data.labels), config.batch_size,
                augmentation=flags.call(Augmentation, config), shuffle_seed=config.seed,
                epoch=0 if name else run.epochs_done,
            )  # fmt: skip
            training, model = build_model(config, len(data.labels), typical, attention)
            compile_model(config, training, batches)
            find = flags.call(detected.finder, config, model, most=config.most_boxes)

            def measure(part):
                seen = pictures[part]
                found = find(seen.images, seen.sizes)
                return average_precision.measure(seen.truths, found, data.labels)

            def validate(epoch, logs):
                scores, _ = measure("validation")
                logs |= {f"val_{figure}": value for figure, value in scores.items()}

            watch = keras.callbacks.LambdaCallback(on_epoch_end=validate)
            watch = fitting.with_averaged_weights(watch)
            if name is None:
                run.fit(training, batches, monitor="val_mAP50", mode="max", callbacks=watch)
            else:
                run.fit_baseline(name, training, batches, callbacks=watch)
            return model, measure("test")

        model, (scores, of_class) = fit(config.attention)
        baselines = {}
        if config.baselines:
            found = colours.thresholds(*pictures.values(), data.labels)
            truth = pictures["test"].truths
            baselines["thresholds of colours"], _ = average_precision.measure(
                truth, found, data.labels
            )
            if config.attention != "none":
                _, (baselines["no attention"], without) = fit("none", "no attention")
        records.show_scores(scores, baselines)
        details = {"of_class": of_class}
        if "no attention" in baselines:
            details["of_class_without_attention"] = without

        rows = slice(config.parity_images)
        forms = detected.export(
            model, run.path, pictures["test"].images[rows], pictures["test"].sizes[rows],
            data.labels, first=next(data.test.take([0]).images()), most=config.most_boxes,
            overlap=config.overlap,
        )  # fmt: skip
        run.publish(
            model, data, title="Object detection", scores=scores, baselines=baselines,
            exports=forms, card=card(config, of_class), plot="mAP50", details=details,
        )  # fmt: skip


def card(config, of_class):
    """The words of the model card."""
    return detected.card(config, of_class)


def predict(config):
    """List the objects in images with their boxes, and draw them."""
    detected.answer(config, NAME, FORMS)


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
