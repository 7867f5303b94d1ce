"""Action recognition: which action a clip shows, and which frames show it.

Trains a classifier of clips, which are poses (x and y of joints in each frame) or videos, and
exports it as a SavedModel and as TFLite files. `predict` prints the action of clips, and draws the
weights of their frames.

Model. The features of a frame of poses are the positions of the joints, their movement to the next
frame and to the one after it, and their distances, all independent of the position and size in the
image (`recipes/parts/motion.py`). The features of a video frame are those of a frozen convolutional
network. Convolutions along time, `--encoder gru` or `transformer` read the frames; attention
pooling averages them with learned weights, and a linear layer classifies the average. `--attention
none` gives all frames the same weight. In training clips are cut, slowed and thinned out at random;
poses are also mirrored, rotated and stretched. The saved model has the moving average of the
weights.

Data: "toy" (stick figures; generated, offline); a folder with clips.jsonl (columns label, split and
frames, a list of lists of numbers; or splits, a list with one name per official split: `--split
2`), or with train.jsonl and test.jsonl, all perhaps .gz; a folder with train/CLASS and test/CLASS,
which hold video files or folders of images; or a set of TensorFlow Datasets with videos and labels,
such as "tfds:ucf101". Video files need the extra `video`.

    python -m recipes.action_recognition train --data toy
    python -m recipes.action_recognition train --data FOLDER --split 2
    python -m recipes.action_recognition predict saved_models/action_recognition a.json
    python -m recipes.action_recognition explain saved_models/action_recognition

Score: accuracy 0.767 on poses of 14 actions of J-HMDB, mean of three splits, one seed.

References: Yang et al., 2019 (DD-Net, features of poses), https://arxiv.org/abs/1907.09658; Yang et
al., 2016 (attention pooling), https://aclanthology.org/N16-1174. DD-Net reads distances and
movements by separate layers and ends in max pooling; here one encoder reads all, and attention
pooling takes the place of max pooling.
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
    data: str = option("toy", "toy, tfds:NAME or a folder with clips.jsonl, or train/ and test/")
    output: Path = default(Path("saved_models") / NAME)
    label_column: str = option("label", "column of the label")
    frames_column: str = option("frames", "column of the frames, a list of lists of numbers")
    split: int = option(
        1, "which of the official splits to use, if a column splits lists several", low=1
    )
    validation_fraction: float = option(
        0.1, "share of the training clips to validate on, without a split for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    joints: bool = option(True, "the numbers of a frame are x and y of each joint in turn")
    max_frames: int | None = option(
        None, f"most frames of a clip, evenly sampled (default: {clips.MOST_POSES}, of videos "
        f"{clips.MOST_PICTURES})", low=2, high=1000,
    )  # fmt: skip
    backbone: str = option(
        "MobileNet", "for videos: a network of keras.applications, or a .keras file"
    )
    image_size: int | None = option(
        None, "for videos: pixels along each side that frames are resized to (default: that of the "
        "backbone)", low=16, high=1024,
    )  # fmt: skip
    cache: Path = option(Path("saved_models") / "features", "for videos: folder of the features")
    # Network.
    encoder: str = option(
        "cnn", "network that reads the frames", choices=("cnn", "gru", "transformer")
    )
    attention: str = option("tanh_dot", "score of the pooling", choices=("tanh_dot", "none"))
    units: int = option(64, "features of each step of the encoder", low=4)
    blocks: int = option(3, "layers or blocks of the encoder", low=1, high=12)
    heads: int = option(4, "heads of a transformer block; must divide --units", low=1)
    input_dropout: float = option(0.2, "dropout rate of the input features", low=0.0, high=0.95)
    dropout: float = option(
        0.3, "dropout rate of the encoder and the pooled vector", low=0.0, high=0.95
    )
    # Training.
    label_smoothing: float = option(
        0.1, "label smoothing: share of a label that all classes get equally", low=0.0, high=0.9
    )
    weight_decay: float = option(0.0001, "weight decay of AdamW", low=0.0, high=1.0)
    mirror: bool = option(True, "mirror poses at random")
    swap: str = option("", "pairs of joints that mirroring swaps, such as 3-4,5-6 (default: none)")
    rotation: float = option(10.0, "most degrees by which poses are rotated", low=0.0, high=180)
    stretch: float = option(0.1, "largest share by which poses are stretched", low=0.0, high=0.9)
    noise: float = option(0.02, "noise of joints, relative to their spread", low=0.0, high=1.0)
    crop: float = option(0.2, "largest share of frames that is cut off", low=0.0, high=0.9)
    speed: float = option(0.2, "largest share by which time is stretched", low=0.0, high=0.9)
    frame_dropout: float = option(0.1, "share of frames that is dropped", low=0.0, high=0.9)
    epochs: int = default(60)
    patience: int = default(60)
    batch_size: int = default(32)
    learning_rate: float = default(0.002)
    # What is compared and written.
    baselines: bool = option(
        True, "also measure logistic regression and the network without attention"
    )
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
        "text", "how answers are printed; jsonl has all probabilities and weights",
        choices=watched.FORMATS,
    )  # fmt: skip
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))
    png: Path | None = option(None, "also draw the weights of the frames, for a single clip")


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
    """Print the action of clips, and draw the weights of their frames."""
    watched.answer(config, NAME, FORMS)


def explain(config):
    """Test whether the weights of a trained model explain its answers, and write a page."""
    frame_maps.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
