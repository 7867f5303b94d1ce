"""Action recognition: what somebody does in a clip, and the frames that tell it.

Trains a classifier of clips, which are poses (x and y of joints in each frame) or videos, and
exports it as a SavedModel and as TFLite files. `predict` tells the action of clips, and draws which
frames counted.

Model. Of each frame of poses it reads where the joints are, how they move to the next frame and to
the one after, and how far apart they are, whatever the place in the picture and the size
(`recipes/parts/motion.py`). Of pictures it reads what a frozen convolutional network says of each
frame. Convolutions along time, `--encoder gru` or `transformer` read the frames together; attention
pooling weighs them, and the mean by these weights decides. `--attention none` weighs all alike. In
training clips are mirrored, turned, stretched, cut, slowed and thinned out at random. What is kept
is a moving average of the weights.

Data: "toy" (stick figures; generated, offline); a folder with clips.jsonl (columns label, split and
frames, a list of lists of numbers; or splits, a list of the names in several ways to split:
`--split 2`), or with train.jsonl and test.jsonl, all perhaps .gz; a folder with train/CLASS and
test/CLASS, which hold video files or folders of images; or a set of TensorFlow Datasets with videos
and labels, such as "tfds:ucf101". Video files need the extra `video`.

    python -m recipes.action_recognition train --data toy
    python -m recipes.action_recognition train --data FOLDER --split 2
    python -m recipes.action_recognition predict saved_models/action_recognition a.json
    python -m recipes.action_recognition explain saved_models/action_recognition

Score: not measured yet.

References: Yang et al., 2019 (DD-Net, features of poses), https://arxiv.org/abs/1907.09658; Yang et
al., 2016 (attention pooling), https://aclanthology.org/N16-1174. Theirs reads distances and motions
apart; here one encoder reads all, and attention takes the place of the largest value.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from recipes.baselines import clip_statistics
from recipes.data import motions
from recipes.kit import classes, explaining, fitting, flags, records
from recipes.kit.errors import UserError
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, argument, default, option
from recipes.kit.running import Run
from recipes.maps import frames as frame_maps
from recipes.parts import clips, watched

NAME = "action_recognition"


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    output: Path = default(Path("saved_models") / NAME)
    label_column: str = option("label", "column of the label")
    frames_column: str = option("frames", "column of the frames, a list of lists of numbers")
    split: int = option(1, "which way to split, where a column splits lists several", low=1)
    validation_fraction: float = option(
        0.1, "share of the training clips to validate on, without a split for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    joints: bool = option(True, "the numbers of a frame are x and y of joints, in turn")
    max_frames: int | None = option(
        None, f"frames of a clip, at most, evenly sampled; none: {clips.MOST_POSES}, of pictures "
        f"{clips.MOST_PICTURES}", low=2, high=1000,
    )  # fmt: skip
    backbone: str = option(
        "MobileNet", "of pictures: a model of keras.applications, or a .keras file"
    )
    image_size: int | None = option(
        None, "side of the squares that pictures are squashed to; none: as the backbone has it",
        low=16, high=1024,
    )  # fmt: skip
    cache: Path = option(Path("saved_models") / "features", "folder to keep picture features in")
    # Network.
    encoder: str = option(
        "cnn", "what reads the frames together", choices=("cnn", "gru", "transformer")
    )
    attention: str = option("tanh_dot", "how frames are weighed", choices=("tanh_dot", "none"))
    units: int = option(64, "size of the encoder", low=4)
    blocks: int = option(2, "layers or blocks of the encoder", low=1, high=12)
    heads: int = option(4, "heads of a block of the transformer; they divide the units", low=1)
    input_dropout: float = option(0.2, "dropout rate of the features", low=0.0, high=0.95)
    dropout: float = option(0.3, "dropout rate", low=0.0, high=0.95)
    # Training.
    label_smoothing: float = option(
        0.1, "share of each label that goes to all classes alike", low=0.0, high=0.9
    )
    weight_decay: float = option(0.0001, "decay of the weights by AdamW", low=0.0, high=1.0)
    mirror: bool = option(True, "swap left and right of poses at random")
    swap: str = option("", "left and right joints that are swapped with it, such as 3-4,5-6")
    rotation: float = option(10.0, "degrees by which poses are turned, at most", low=0.0, high=180)
    stretch: float = option(0.1, "share by which poses are stretched, at most", low=0.0, high=0.9)
    noise: float = option(0.02, "noise of joints, in shares of their spread", low=0.0, high=1.0)
    crop: float = option(0.2, "share of the frames that is cut off, at most", low=0.0, high=0.9)
    speed: float = option(0.2, "share by which time is stretched, at most", low=0.0, high=0.9)
    frame_dropout: float = option(0.1, "share of the frames left out", low=0.0, high=0.9)
    epochs: int = default(60)
    patience: int = default(60)
    batch_size: int = default(32)
    learning_rate: float = default(0.002)
    # What is compared and written.
    baselines: bool = option(True, "train logistic regression and the same without attention too")
    parity_clips: int = option(100, "test clips on which the exports are compared", low=1)
    explained: int = option(100, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    clips: tuple[Path, ...] = argument(
        "json or jsonl files of poses, video files, or folders of images", nargs="*"
    )
    frames_column: str = option("frames", "column of the frames in a jsonl file")
    format: str = option(
        "text", "how answers are written: jsonl has all probabilities and weights",
        choices=watched.FORMATS,
    )  # fmt: skip
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))
    png: Path | None = option(None, "also draw which frames counted, for a single clip")


def build_model(config, seen, num_classes, attention):
    """The classifier, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        seen: `clips.Seen`, whose training clips the features are scaled by.
        num_classes: Integer C.
        attention: String, `"tanh_dot"`, or `"none"` for equal weights.

    Returns:
        The model to train: frames `(B, T, N)` to probabilities `(B, C)`. The model to use: frames,
        of pictures `(B, T, size, size, 3)`, to a dict of `probability` `(B, C)` and `weights`
        `(B, T)`, which sum to one. A frame of zeros is not there.
    """
    import keras

    from recipes.parts import motion

    joints = config.joints and seen.backbone is None
    scales = motion.statistics(seen.clips["train"], joints)
    sizes = seen.size, num_classes, *scales
    model = motion.classifier(config, *sizes, joints=joints, attention=attention)
    training = keras.Model(model.input, model.output["probability"])
    return training, model if seen.backbone is None else motion.of_pictures(seen.backbone, model)


def compile_model(config, model, batches):
    """Cross-entropy with smoothed labels, and AdamW with the average that is kept."""
    import keras

    import keras_attention as ka

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches))
    model.compile(
        keras.optimizers.AdamW(
            rate, weight_decay=config.weight_decay, global_clipnorm=1.0, use_ema=True,
            ema_momentum=fitting.momentum(config.averaging, batches),
        ),
        ka.SequenceCrossentropy(config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # to compile takes longer than such a small training
    )  # fmt: skip


def train(config):
    """Train a classifier, measure it beside its baselines, and export it."""
    if config.encoder == "transformer" and config.units % config.heads:
        raise UserError(f"--heads must divide --units. Received: {config.heads} and {config.units}")
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(motions.ClipReader, config).load(config.data)
    clips.check(config, data)
    from recipes.data.batches import ClipAugmentation, ClipBatches

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        seen = clips.see(config, data)
        labels = {part: split.labels for part, split in data.splits.items()}
        joints = config.joints and not data.is_pictures
        altered = flags.call(ClipAugmentation, config, joints=joints, pairs=clips.pairs_of(config))

        def batches(part, **options):
            return ClipBatches(seen.clips[part], labels[part], config.batch_size, **options)

        def fit(attention, name=None):
            """Trains a model: that of the run, or with a name one to compare with."""
            fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
            training, model = build_model(config, seen, len(data.labels), attention)
            train = batches(
                "train", augmentation=altered, shuffle_seed=config.seed,
                epoch=0 if name else run.epochs_done,
            )  # fmt: skip
            compile_model(config, training, train)
            rest = train, batches("validation")
            if name is None:
                run.fit(training, *rest, monitor="val_loss", mode="min")
            else:
                run.fit_baseline(name, training, *rest)
            return model, training.predict(batches("test"), verbose=0)

        model, found = fit(config.attention)
        test = batches("test")  # which come in order of length
        true = np.concatenate([test[number][1] for number in range(len(test))])
        scores = classes.measure(true, found)
        baselines = {"most frequent label": classes.most_frequent(labels["train"], true)}
        if config.baselines:
            baselines["logistic regression over statistics"] = clip_statistics.logistic_regression(
                seen.clips, labels, len(data.labels), joints=joints
            )
            if config.attention != "none":
                name = "no attention"
                baselines[name] = classes.measure(true, fit("none", name)[1])
        records.show_scores(scores, baselines)
        rows = classes.by_class(data.labels, labels, true, found.argmax(1))
        facts = clips.Facts.of(config, data, seen)
        forms = watched.export(model, run.path, data, seen, facts, config.parity_clips)
        run.publish(
            model, data, title="Action recognition", scores=scores, baselines=baselines,
            exports=forms, card=card(config, data, rows), details={"classes": rows},
            maps=frame_maps.maps_of(config, model, seen.clips["test"], data.labels),
        )  # fmt: skip


def card(config, data, rows):
    """The words of the model card, with a section of its own for the classes."""
    return watched.card(config, data, classes.table(rows))


def predict(config):
    """Tell the actions of clips, and draw which frames counted."""
    watched.answer(config, NAME, FORMS)


def explain(config):
    """Test whether the weights of a trained model explain its answers, and write a page."""
    frame_maps.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
