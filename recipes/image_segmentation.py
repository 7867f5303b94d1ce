"""Image segmentation: which pixels of an image are foreground.

Trains a U-Net with attention gates on images and their masks, and exports it as a SavedModel that
takes images of any size and as TFLite files for tiles. `predict` writes masks, and a picture of the
outlines and of the weights of each gate.

Model. An encoder of convolutions with batch normalization and max pooling, which halves the image
three times, and a decoder: at each level the upsampled features from below are concatenated with
the encoder's features of the same size. An attention gate weighs each position of the latter, by
the coarser features below, which cover more of the surroundings. A small penalty closes gates where
they are not needed. `--attention none` has no gates. It trains on random crops, rotated, zoomed and
recoloured; pixels are standardized by the mean and standard deviation of their image.

Figures: Dice and intersection over union, and F1 of boundaries, means over the test images.

Data: "toy" (drawn, offline: only the surroundings tell cells from dirt); a folder with a table
(columns split and image) beside images/ or images.zip with the mask ID.mask.png of each ID.png; a
folder with train/images, train/masks, test/images and test/masks; or a set of TensorFlow Datasets
with masks, such as "tfds:oxford_iiit_pet" with --foreground 1. All values of a mask above 0 are
foreground, or with --foreground that value alone.

    python -m recipes.image_segmentation train --data toy
    python -m recipes.image_segmentation predict saved_models/image_segmentation a.png --masks OUT
    python -m recipes.image_segmentation predict saved_models/image_segmentation a.png --png b.png

Score: not measured yet.

References: Oktay et al., 2018 (attention gates), https://arxiv.org/abs/1804.03999; Ronneberger et
al., 2015 (U-Net), https://arxiv.org/abs/1505.04597. Departures: two dimensions; the first skip
connection has a gate too; the penalty; the moving average of the weights, which is saved.
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import otsu
from recipes.data import masks as mask_data
from recipes.kit import fitting, flags, processes, records
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, default, option
from recipes.kit.running import Run
from recipes.parts import mask_scores, segmented

NAME = "image_segmentation"
ATTENTIONS = ("gates", "none")


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    data: str = option("toy", "toy, tfds:NAME or a folder with images and masks")
    output: Path = default(Path("saved_models") / NAME)
    limit: int | None = option(None, "images of each split to use, for a quick look", low=4)
    validation_fraction: float = option(
        0.1, "share of the training images to validate on, without a split for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    longest_side: int | None = option(
        None, "pixels of the longer side to which larger images, and their masks, are shrunk",
        low=16,
    )  # fmt: skip
    foreground: int | None = option(
        None, "the value of a mask that is foreground (default: all values above 0)"
    )
    # Network.
    attention: str = option("gates", "what weighs the skip connections", choices=ATTENTIONS)
    width: int = option(
        16, "channels of the finest level; each coarser level has twice as many", low=2
    )
    levels: int = option(4, "levels, each half the size of the one before", low=2, high=7)
    dropout: float = option(0.2, "dropout rate of the coarsest level", low=0.0, high=0.9)
    # Training.
    crop: int = option(
        128, "pixels along each side of a crop, fewer if all images are smaller", low=16
    )
    crops: int = option(2, "crops of each image in an epoch", low=1)
    zoom: float = option(0.25, "largest share by which crops are scaled", low=0.0, high=0.9)
    contrast: float = option(0.3, "largest share by which contrast is changed", low=0.0, high=0.9)
    brightness: float = option(
        0.3, "most standard deviations by which brightness is changed", low=0.0, high=3.0
    )
    colour: float = option(
        0.1, "the same for contrast and brightness of each colour channel alone", low=0.0, high=0.9
    )
    invert: float = option(
        0.1, "share of crops whose light and dark are exchanged", low=0.0, high=1.0
    )
    penalty: float = option(
        0.02, "weight in the loss of the mean of the gates' weights", low=0.0, high=10.0
    )
    epochs: int = default(12)
    patience: int = default(10)
    batch_size: int = default(8)
    learning_rate: float = default(0.002)
    # What is written.
    tile: int = option(
        256, "pixels along each side of the tiles of the TFLite files, rounded up to a multiple of "
        "2^(levels + 1)", low=64,
    )  # fmt: skip
    baselines: bool = option(
        True, "also measure Otsu's threshold and the network without attention"
    )
    parity_images: int = option(20, "test images on which the exports are compared", low=1)


@dataclasses.dataclass(frozen=True)
class PredictConfig(segmented.PredictConfig):
    """What `predict` can be told."""

    form: str = option("saved_model", "which export to use", choices=tuple(FORMS))


def build_model(config, attention):
    """The network, to use and to train; both share all weights.

    Args:
        config: A `Config`.
        attention: One of `ATTENTIONS`.

    Returns:
        The network from standardized pixels `(B, H, W, 3)`, H and W multiples of 2^(levels - 1), to
        a dict of `logits` `(B, H, W)` and, of each gate, its weights: `gate_1` `(B, H, W)`,
        `gate_2` `(B, H / 2, W / 2)` and so on. The one to train, from pixels to logits, with the
        penalty in its loss.
    """
    import keras
    from keras import layers

    import keras_attention as ka
    from recipes.parts import unet

    pixels = x = keras.Input((None, None, 3), name="pixels")
    filters = [config.width * 2**level for level in range(config.levels)]
    skips, gates = [], {}
    for level, count in enumerate(filters, start=1):
        if level > 1:
            x = layers.MaxPooling2D(2, name=f"pool_{level}")(x)
        x = unet.block(x, count, f"down_{level}")
        skips.append(x)
    x = layers.Dropout(config.dropout, seed=config.seed, name="dropout")(skips.pop())
    for level in range(config.levels - 1, 0, -1):
        skip, count = skips.pop(), filters[level - 1]
        if attention == "gates":
            gate = ka.AttentionGate(max(1, count // 2), name=f"gate_{level}")
            skip, gates[f"gate_{level}"] = gate(skip, x, return_attention_scores=True)
        x = unet.enlarged(x, count, f"enlarge_{level}")
        x = layers.Concatenate(name=f"join_{level}")([skip, x])
        x = unet.block(x, count, f"up_{level}")
    x = layers.Conv2D(1, 1, dtype="float32", name="head")(x)
    logits = keras.ops.squeeze(x, -1)
    model = keras.Model(pixels, {"logits": logits, **gates}, name=NAME)
    if gates and config.penalty:
        penalty = unet.GatePenalty(config.penalty, dtype="float32", name="penalty")
        logits = penalty(logits, list(gates.values()))
    return model, keras.Model(pixels, logits)


def compile_model(config, training, batches):
    """Loss and optimizer."""
    import keras

    from recipes.parts import unet

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches))
    momentum = fitting.momentum(config.averaging, batches)
    training.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum),
        unet.MaskLoss(),
        jit_compile=False,  # convolutions on a CPU are slower under XLA
    )


def train(config):
    """Train a network, measure it beside its baselines, and export it."""
    processes.need_one("Batch normalization")  # statistics of a part of a batch are others
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(mask_data.MaskReader, config).load(config.data)
    import keras

    from recipes.data.batches import CropAugmentation, CropBatches
    from recipes.parts import segmenter

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        unit = 2 ** (config.levels - 1)
        largest = max(max(mask.shape) for mask in data.train.masks)
        side = -(-min(config.crop, largest) // unit) * unit
        augmentation = flags.call(CropAugmentation, config, turn=True)

        def fit(attention, name=None):
            """Trains a network: that of the run, or with a name one to compare with."""
            keras.utils.set_random_seed(config.seed)
            model, training = build_model(config, attention)
            batches = CropBatches(
                data.train.images, data.train.masks, config.batch_size, side=side,
                crops=config.crops, augmentation=augmentation, shuffle_seed=config.seed,
                epoch=0 if name else run.epochs_done,
            )  # fmt: skip
            compile_model(config, training, batches)
            read = segmenter.reader_of(model)

            def validate(epoch, logs):
                found = [read(image).mask for image in data.validation.images]
                scores = mask_scores.measure(found, data.validation.masks)
                logs |= {f"val_{name}": value for name, value in scores.items()}

            watch = keras.callbacks.LambdaCallback(on_epoch_end=validate)
            watch = fitting.with_averaged_weights(watch)
            if name is None:
                run.fit(training, batches, monitor="val_dice", mode="max", callbacks=watch)
            else:
                run.fit_baseline(name, training, batches, callbacks=watch)
            return model, read

        def measure(mark):
            """Scores of a function from a test image to its mask."""
            return mask_scores.measure([mark(x) for x in data.test.images], data.test.masks)

        model, read = fit(config.attention)
        scores, baselines = measure(lambda image: read(image).mask), {}
        if config.baselines:
            baselines["Otsu's threshold"] = measure(otsu.segment)
            if config.attention != "none":
                _, other = fit("none", "no attention")
                baselines["no attention"] = measure(lambda image: other(image).mask)
        records.show_scores(scores, baselines)

        shown = data.test.images[: config.parity_images]
        tile = -(-config.tile // (4 * unit)) * 4 * unit
        segmented.draw(shown[0], read(shown[0]), run.path / "gates.png")
        run.publish(
            model, data, title="Image segmentation", scores=scores, baselines=baselines,
            exports=segmenter.export(model, run.path, shown, tile),
            card=card(dataclasses.replace(config, tile=tile)), plot="dice",
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return segmented.card(config)


def predict(config):
    """Write masks of images, and draw the weights of the gates."""
    segmented.answer(config, NAME, FORMS)


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
