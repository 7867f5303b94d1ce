"""Clips as numbers, and what a trained model needs beside its weights to read more of them.

seen = see(config, data)                       # `Seen`: numbers of all splits
facts = Facts.of(config, data, seen)           # labels, frames, bones: `motion.json`
"""

import dataclasses
import json

import numpy as np

from recipes.data import videos
from recipes.kit import run_folder
from recipes.kit.errors import UserError, cannot_load

FILE = "motion.json"
MOST_POSES, MOST_PICTURES = 64, 16  # frames of a clip


@dataclasses.dataclass(frozen=True)
class Seen:
    """The clips of a data set as numbers.

    Attributes:
        clips: Dict from the name of a split to a list of float32 arrays `(T, N)`.
        backbone: Model from images to features `(B, N)`, or `None` where clips are numbers.
    """

    clips: dict
    backbone: object = None

    @property
    def size(self):
        """Integer N, numbers of a frame."""
        return self.clips["train"][0].shape[1]


def most_frames(config, data):
    """How many frames of a clip are read, at most."""
    return config.max_frames or (MOST_PICTURES if data.is_pictures else MOST_POSES)


def check(config, data):
    """Raises `UserError` where options and data do not go together, notes what may be missing."""
    if data.is_pictures:
        return
    size = data.train.clips[0].shape[1]
    if config.joints and size % 2:
        raise UserError(
            "Expected x and y of each joint, an even number of values in a frame (or --no-joints). "
            f"Received: {size} values in {data.train.where(0)}"
        )
    if config.joints and size == 2:
        raise UserError(
            "One joint has no posture: train with --no-joints. "
            f"Received: {size} numbers in {data.train.where(0)}"
        )
    joints = range(size // 2)
    for pair in pairs_of(config):
        if not set(pair) <= set(joints):
            raise UserError(
                f"--swap must name joints from 0 to {len(joints) - 1}. Received: {config.swap}"
            )
    if config.joints and (share := _share_at_zero(data.train.clips)):
        data.notes.append(
            f"{share:.1%} of the joints to train with lie at exactly 0, 0 in some frames and "
            "elsewhere in others: if that says that they were not seen, the model does not know"
        )


def _share_at_zero(clips):
    """The share of places at 0, 0, without joints that always lie there."""
    at_zero = np.concatenate([(clip.reshape(len(clip), -1, 2) == 0).all(-1) for clip in clips])
    return float((at_zero & ~at_zero.all(axis=0)).mean())


def pairs_of(config):
    """The pairs of joints of `--swap`, as a tuple."""
    try:
        pairs = tuple(tuple(map(int, pair.split("-"))) for pair in config.swap.split(",") if pair)
    except ValueError:
        pairs = ((),)
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"--swap must be pairs such as 3-4,5-6. Received: {config.swap}")
    if len({joint for pair in pairs for joint in pair}) < 2 * len(pairs):
        raise UserError(f"--swap must name each joint once. Received: {config.swap}")
    return pairs


def see(config, data):
    """Returns `Seen`: poses as they are, pictures as a frozen backbone sees them, from its cache.

    Args:
        config: A `recipes.action_recognition.Config`.
        data: `recipes.data.motions.LabelledClips`.
    """
    most = most_frames(config, data)
    if not data.is_pictures:
        return Seen(
            {
                part: [clip[videos.evenly(len(clip), most)] for clip in split.clips]
                for part, split in data.splits.items()
            }
        )
    from recipes.parts import backbones

    backbone = _pooled(config)
    key = f"{backbones.fingerprint(backbone)}{data.fingerprint}{most} not black"
    clips = {}
    for part, split in data.splits.items():
        frames = videos.Frames(split.clips, most)
        rows, gaps = backbones.cached_features(backbone, frames, config.cache, f"{key} {part}")
        rows = np.asarray(rows, "float32").reshape(len(split), most, -1)
        clips[part] = [clip[np.abs(clip).max(axis=1) > 0] for clip in rows]
        for row, clip in enumerate(clips[part]):
            if not len(clip):
                name = str(split.clips[row])
                reason = next((gap.reason for gap in gaps if gap.name == name and gap.reason), "")
                raise UserError(
                    "Expected frames in each clip. "
                    f"Cannot read {name}: {reason or 'none is there, or all are black'}"
                )
    return Seen(clips, backbone)


def _pooled(config):
    """The backbone with the mean of its grid, from images to features `(B, N)`."""
    import keras

    from recipes.parts import backbones

    if config.backbone == backbones.SMALL:
        raise UserError(
            f"--backbone must be a network with trained weights. Received: {config.backbone}"
        )
    backbone = backbones.load(config.backbone, config.image_size)
    pooled = keras.layers.GlobalAveragePooling2D(name="mean")(backbone.output)
    model = keras.Model(backbone.input, pooled, name="backbone")
    model.trainable = False
    return model


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a trained model needs to read clips, and to draw them.

    Attributes:
        labels: List of strings.
        size: Integer, numbers of a frame, or for pictures the side of the square.
        max_frames: Integer.
        is_pictures, joints: Booleans.
        bones: List of pairs of joints that are drawn as lines.
    """

    labels: list
    size: int
    max_frames: int
    is_pictures: bool
    joints: bool
    bones: list

    @classmethod
    def of(cls, config, data, seen):
        """The facts of a training."""
        has_bones = config.joints and not data.is_pictures
        return cls(
            data.labels,
            seen.backbone.input_shape[1] if data.is_pictures else seen.size,
            most_frames(config, data),
            data.is_pictures,
            has_bones,
            bones_of(seen.clips["train"]) if has_bones else [],
        )

    @classmethod
    def load(cls, folder):
        """Reads them from the folder of a run.

        Raises:
            UserError: If they cannot be read.
        """
        try:
            return cls(**json.loads("\n".join(run_folder.read_lines(folder / FILE))))
        except (ValueError, TypeError) as error:
            raise cannot_load(folder / FILE, error) from error

    @property
    def lines(self):
        """The lines of the file."""
        return json.dumps(dataclasses.asdict(self), indent=1).split("\n")


def bones_of(clips):
    """Pairs of joints to be joined by lines: the tree of those that stay closest together.

    What a skeleton is nobody has told: along a bone the distance is short and stays the same.

    >>> x = np.array([[0, 0, 1, 0, 3, 0], [0, 0, 1, 0, 1, 2]], "float32")
    >>> bones_of([x])
    [[0, 1], [1, 2]]
    """
    from scipy.sparse import csgraph

    x = np.concatenate(clips).reshape(-1, clips[0].shape[1] // 2, 2)
    apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)  # (frames, J, J)
    apart = apart / (apart.mean((1, 2), keepdims=True) + 1e-9)
    # A cost of 0 would be no edge for SciPy: joints may lie at the same place.
    cost = np.triu(apart.mean(0) + 3 * apart.std(0) + 1e-9, k=1)
    ends = csgraph.minimum_spanning_tree(cost).nonzero()
    return sorted([int(first), int(second)] for first, second in zip(*ends, strict=True))
