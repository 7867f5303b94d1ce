"""Image classification: the class of an image, and which parts of the image were weighted most.

Trains a small network on images on a CPU, and exports it as a SavedModel and as TFLite files that
take images of any size. `predict` prints the class of images and draws the attention weights.

Model. `--architecture resnet`: a fixed convolution that whitens patches of 2 x 2 pixels, then
stages that each halve the grid by a convolution and max pooling and add a residual branch with a
convolutional block attention module (CBAM): weights of its channels, then of its positions.
`transformer`: the same fixed convolution, a stem of two convolutions, and encoder blocks over the
positions of the grid. Both end in attention pooling, a softmax over the positions, whose weights
`predict --png` draws. `--attention none` is the same network without CBAM and with equal weights in
the pooling; `blocks` and `pooling` have one of the two. Images are shifted and mirrored, labels are
smoothed, and the saved model has the moving average of the weights.

Data: "toy" (drawn, offline: the position that decides is known); a folder, zip or tar with images
in train/CLASS/ and test/CLASS/ (perhaps dev/CLASS/), or in CLASS/; a folder with train.tar.xz and
test.tar.xz; or a set of TensorFlow Datasets, such as "tfds:cifar10".

    python -m recipes.image_classification train --data toy
    python -m recipes.image_classification predict saved_models/image_classification a.jpg
    python -m recipes.image_classification explain saved_models/image_classification

Score: accuracy 0.8681 on CIFAR-10 as JPEG of quality 75, where published figures are of PNG.

Reference: Woo et al., 2018 (CBAM), https://arxiv.org/abs/1807.06521; He et al., 2016 (residual
branches), https://arxiv.org/abs/1512.03385; Hassani et al., 2021 (the transformer and its pooling),
https://arxiv.org/abs/2104.05704; Jordan, 2024 (whitening, alternating mirror images),
https://arxiv.org/abs/2404.00498. Departures: few wide stages; whitening before the transformer too.
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import hog
from recipes.data import labelled_images
from recipes.kit import classes, exports, fitting, flags, records
from recipes.kit.errors import UserError
from recipes.kit.explaining import HELP, ExplainConfig
from recipes.kit.flags import TrainConfig, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import images as image_maps
from recipes.parts import classified

NAME = "image_classification"
FORMS = {"saved_model": "saved_model", **exports.FORMS}  # the first is what `predict` takes
ATTENTIONS = ("both", "blocks", "pooling", "none")
POSITIONS = ("sinusoidal", "learned")
OPTIMIZERS = {"resnet": "sgd", "transformer": "adamw"}


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    data: str = option("toy", "toy, tfds:NAME or a folder, zip or tar with SPLIT/CLASS/*.jpg")
    output: Path = default(Path("saved_models") / NAME)
    validation_fraction: float = option(
        0.1, "share of the training images to validate on, without a split for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    image_size: int | None = option(
        None, "pixels along each side of the squares that images are resized to (default: the "
        "median side of the training images)", low=16, high=1024,
    )  # fmt: skip
    # Network.
    architecture: str = option("resnet", "kind of network", choices=tuple(OPTIMIZERS))
    attention: str = option(
        "both", "where attention is used: in the resnet's blocks (CBAM), in the pooling, or both",
        choices=ATTENTIONS,
    )  # fmt: skip
    width: int = option(
        32, "filters of the first stage; the later stages, and the transformer, have four times as "
        "many", low=4,
    )  # fmt: skip
    stages: int = option(3, "stages of the resnet, each of which halves the grid", low=1, high=6)
    blocks: int = option(2, "encoder blocks of the transformer", low=1, high=12)
    position: str = option("sinusoidal", "position encoding of the transformer", choices=POSITIONS)
    heads: int = option(4, "heads of an encoder block; must divide 4 x --width", low=1)
    dropout: float = option(0.1, "dropout rate of the encoder blocks", low=0.0, high=0.9)
    # Training.
    optimizer: str | None = option(
        None, "sgd has Nesterov momentum 0.9 (default: sgd for resnet, adamw for transformer)",
        choices=("sgd", "adamw"),
    )  # fmt: skip
    learning_rate: float | None = option(
        None, "highest learning rate (default: 0.002 for adamw; 0.2 x batch size / 128 for sgd)",
        low=1e-6, high=10.0,
    )  # fmt: skip
    weight_decay: float | None = option(
        None, "weight decay, times the learning rate (default: 0.05 for adamw, 0.005 for sgd)",
        low=0.0, high=1.0,
    )  # fmt: skip
    epochs: int | None = size_dependent(14, 12)
    patience: int = default(10)
    batch_size: int | None = size_dependent(128, 32)
    averaging: float = default(0.995)
    label_smoothing: float = option(
        0.1, "label smoothing: share of a label that all classes get equally", low=0.0, high=0.9
    )
    shift: int | None = option(
        None, "most pixels that an image is shifted by (default: 1/16 of its side)", low=0
    )
    mirror: bool = option(True, "mirror each training image in every second epoch")
    cutout: int = option(0, "side in pixels of a square cut out of each image; 0: none", low=0)
    # What is written.
    baselines: bool = option(
        True, "also measure ridge regression, and the same network without attention"
    )
    parity_images: int = option(500, "test images on which the exports are compared", low=1)
    explained: int = option(100, HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig(classified.PredictConfig):
    """What `predict` can be told."""

    form: str = option("saved_model", "which export to use", choices=tuple(FORMS))


def build_model(config, images, num_classes, attention):
    """The classifier, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        images: uint8 `(N, size, size, 3)`, training images, whose patches are whitened.
        num_classes: Integer C.
        attention: One of `ATTENTIONS`.

    Returns:
        The model to train, from `image` `(B, size, size, 3)` to logits `(B, C)`. The model to use:
        to a dict of `probability` `(B, C)` and `weights` `(B, H, W)`: those of the pooling, with
        `"blocks"` those of the last CBAM's positions.
    """
    import keras
    from keras import layers

    import keras_attention as ka
    from recipes.parts import image_networks
    from recipes.parts.equal_weights import EqualScore

    image = keras.Input(images.shape[1:], dtype="uint8", name="image")
    x = image_networks.whitened(image_networks.standardized(image, images), images)
    of_blocks = None
    if config.architecture == "resnet":
        for number in range(1, config.stages + 1):
            block = None
            if attention in ("both", "blocks"):
                block = ka.ConvBlockAttention(reduction_ratio=8, name=f"attention_{number}")
            width = config.width if number == 1 else 4 * config.width
            x, of_blocks = image_networks.residual_stage(x, width, f"stage_{number}", block)
    else:
        for number, width in enumerate((2 * config.width, 4 * config.width), start=1):
            x = image_networks.convolution(x, width, f"stem_{number}", pool=True)
        x = image_networks.positions(config.position, x)(x)
    _, height, width, features = x.shape
    x = layers.Reshape((height * width, features), name="positions")(x)
    if config.architecture == "transformer":
        for number in range(1, config.blocks + 1):
            x = ka.TransformerEncoderBlock(
                4 * config.width, config.heads, activation="gelu", dropout=config.dropout,
                norm_first=True, seed=config.seed + number, name=f"block_{number}",
            )(x)  # fmt: skip
        x = layers.LayerNormalization(name="norm")(x)
    score = "dot" if attention in ("both", "pooling") else EqualScore()
    pool = ka.AttentionPooling(score=score, name="pooling")
    x, of_pooling = pool(x, return_attention_scores=True)  # (B, D), (B, S)
    logits = layers.Dense(num_classes, dtype="float32", name="head")(x)
    weights = of_blocks if attention == "blocks" else of_pooling
    outputs = {
        "probability": layers.Softmax(dtype="float32", name="probability")(logits),
        "weights": layers.Reshape((height, width), dtype="float32", name="weights")(weights),
    }
    return keras.Model(image, logits), keras.Model(image, outputs, name=NAME)


def compile_model(config, model, batches):
    """Loss, optimizer and metric."""
    import keras

    kind = config.optimizer or OPTIMIZERS[config.architecture]
    rate = {"sgd": 0.2 * config.batch_size / 128, "adamw": 0.002}[kind]
    decay = {"sgd": 0.005, "adamw": 0.05}[kind]
    steps = config.epochs * len(batches)
    options = {
        "learning_rate": fitting.warmup_cosine(config.learning_rate or rate, steps, warmup=0.2),
        "weight_decay": decay if config.weight_decay is None else config.weight_decay,
        "use_ema": True,
        "ema_momentum": fitting.momentum(config.averaging, batches),
    }
    if kind == "sgd":
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, **options)
    else:
        optimizer = keras.optimizers.AdamW(**options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(True, config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA's convolutions are slower on a CPU
    )


def check(config):
    """Raises a `UserError` unless the options go together."""
    if config.architecture == "transformer" and 4 * config.width % config.heads:
        raise UserError(
            "--heads must divide four times --width. Received: "
            f"--heads {config.heads} --width {config.width}"
        )
    if config.architecture == "transformer" and config.attention == "blocks":
        raise UserError("--attention blocks needs --architecture resnet")


def train(config):
    """Train a classifier, measure it beside its baselines, and export it."""
    check(config)
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(labelled_images.ImageReader, config).load(config.data)
    import keras

    from recipes.data.batches import ImageAugmentation, ImageBatches

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        images, whole = labelled_images.in_memory(data, config.image_size)
        for note in whole.notes[len(data.notes) :]:
            print(f"  Note: {note}")
        data, size = whole, images["train"].shape[1]
        if config.architecture == "resnet" and size < 2**config.stages:
            raise UserError(
                f"--stages must be at most {size.bit_length() - 1} for images of {size} x {size} "
                f"pixels. Received: {config.stages}"
            )
        shift = size // 16 if config.shift is None else config.shift
        augmentation = ImageAugmentation(min(shift, size - 1), config.mirror, config.cutout)

        def batches(part, **options):
            return ImageBatches(
                images[part], data.splits[part].labels, len(data.labels), config.batch_size,
                **options,
            )  # fmt: skip

        def fit(attention, name=None):
            """Trains a model: that of the run, or with a name one to compare with."""
            keras.utils.set_random_seed(config.seed)
            seen = batches(
                "train", augmentation=augmentation, shuffle_seed=config.seed,
                epoch=0 if name else run.epochs_done,
            )  # fmt: skip
            training, model = build_model(config, images["train"], len(data.labels), attention)
            compile_model(config, training, seen)
            if name is None:
                run.fit(training, seen, batches("validation"), monitor="val_loss", mode="min")
            else:
                run.fit_baseline(name, training, seen, batches("validation"))
            return model, model.predict(images["test"], verbose=0)["probability"]

        model, probabilities = fit(config.attention)
        labels = data.test.labels
        scores = classified.measure(labels, probabilities)
        baselines = {"most frequent label": classes.most_frequent(data.train.labels, labels)}
        if config.baselines:
            baselines["ridge regression on gradients and colours"] = hog.ridge(images, data)
        if config.baselines and config.attention != "none":
            baselines["no attention"] = classified.measure(labels, fit("none", "no attention")[1])
        records.show_scores(scores, baselines)

        forms = classified.export(
            model, run.path, data.labels, images["test"][: config.parity_images]
        )
        details, section = classified.described(data, probabilities)
        run.publish(
            model, data, title="Image classification", scores=scores, baselines=baselines,
            exports=forms, card=card(config, data, section), details=details,
            maps=image_maps.maps_of(config, model, images["test"], data),
        )  # fmt: skip


def card(config, data, section):
    """The words of the model card, with a section of its own for the classes."""
    return classified.card(config, data, section)


def predict(config):
    """Print the class of images, and draw the attention weights."""
    classified.answer(config, NAME, FORMS)


def explain(config):
    """Test whether the weights of a trained model explain its answers, and write a page."""
    image_maps.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
