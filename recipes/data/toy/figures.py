"""Stick figures that move, of which we know in which frames they do what decides the class.

A figure stands and sways, swings an arm, steps and nods: figures of every class do all of this.
For some frames, anywhere in its clip, it does one of four things, and these frames alone tell which
class it is of. A frame is x and y of eleven joints, y downwards, as in a picture.

>>> clip = generate(1, seed=0)[0]
>>> clip.label, clip.frames.shape, clip.start, clip.end
('kick', (34, 22), 14, 21)
"""

import dataclasses
import hashlib

import numpy as np

DESCRIPTION = (
    "Stick figures (recipes/data/toy/figures.py) that bow, kick, squat or wave for some frames of "
    "a clip, and in the rest do what figures of all classes do."
)
JOINTS = "hip neck head elbow_1 hand_1 elbow_2 hand_2 knee_1 foot_1 knee_2 foot_2".split()
CLASSES = ("bow", "kick", "squat", "wave")
_FRAMES = (20, 37)  # of a clip, from and to
_DECIDING = (6, 9)


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip of a figure.

    Attributes:
        frames: float32 `(T, 22)`.
        label: String, one of `CLASSES`.
        start, end: Integers, the first of the frames that decide, and the one behind the last.
        name: String that no other clip has.
    """

    frames: np.ndarray
    label: str
    start: int
    end: int
    name: str


def splits(train=240, validation=60, test=120, *, seed=0):
    """Returns three lists of clips: to train, to validate and to test."""
    rows = generate(train + validation + test, seed=seed)
    return rows[:train], rows[train : train + validation], rows[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` clips."""
    rng = np.random.default_rng(seed)
    return [_clip(rng) for _ in range(count)]


def _clip(rng):
    count, deciding = int(rng.integers(*_FRAMES)), int(rng.integers(*_DECIDING))
    start = int(rng.integers(1, count - deciding))
    label = str(rng.choice(CLASSES))
    # Angles in radians of torso, head, both arms (upper, fore) and both legs (thigh, shin).
    angles = {name: _sway(rng, count) for name in ("torso", "head")}
    angles |= {name: 0.15 + _sway(rng, count) for name in ("upper_1", "fore_1", "fore_2")}
    angles |= {"upper_2": -0.15 + _sway(rng, count), "drop": np.zeros(count)}
    angles |= {name: _sway(rng, count) for name in ("thigh_1", "shin_1", "thigh_2", "shin_2")}
    for _ in range(2):  # what figures of every class do
        size = int(rng.integers(*_DECIDING))
        at = int(rng.integers(0, count - size))
        what = rng.choice(["upper_2", "head", "thigh_2"])
        angles[what][at : at + size] += rng.choice([-0.5, 0.5]) * _bump(size)
    bump = _bump(deciding)
    changes = {
        "bow": {"torso": 1.2 * bump},
        "kick": {"thigh_1": 1.3 * bump, "shin_1": 0.2 * bump},
        "squat": {
            "thigh_1": 1.1 * bump, "thigh_2": -1.1 * bump, "shin_1": -1.1 * bump,
            "shin_2": 1.1 * bump, "drop": 0.25 * bump,
        },
        "wave": {"upper_1": 2.4 * bump, "fore_1": np.sin(2.0 * np.arange(deciding)) * bump},
    }[label]  # fmt: skip
    for name, change in changes.items():
        angles[name][start : start + deciding] += change
    side = rng.choice([-1.0, 1.0])  # to which the figure looks
    x = _pose(angles) * [side, 1.0] * rng.uniform(0.5, 2.0) + rng.uniform(-1, 1, 2)
    x = x + np.cumsum(rng.normal(0, 0.01, (count, 1, 2)), axis=0) + rng.normal(0, 0.01, x.shape)
    frames = x.reshape(count, -1).astype("float32")
    name = hashlib.sha256(frames.tobytes()).hexdigest()[:16]
    return Clip(frames, label, start, start + deciding, name)


def _sway(rng, count):
    """A slow small movement."""
    return 0.08 * np.sin(rng.uniform(0.2, 0.6) * np.arange(count) + rng.uniform(0, 2 * np.pi))


def _bump(size):
    """From nothing to one and back, quickly."""
    return np.minimum(1.0, 1.6 * np.sin(np.pi * (np.arange(size) + 1) / (size + 1)))


def _pose(angles):
    """Where the joints are `(T, 11, 2)`, in the order of `JOINTS`."""

    def limb(start, angle, length):
        """The end of a limb that hangs from `start`, turned forwards by an angle."""
        return start + length * np.stack([np.sin(angle), np.cos(angle)], axis=-1)

    hip = np.stack([np.zeros_like(angles["drop"]), angles["drop"]], axis=-1)
    neck = limb(hip, np.pi - angles["torso"], 0.6)
    joints = [hip, neck, limb(neck, np.pi - angles["torso"] - angles["head"], 0.2)]
    for first, upper, lower, start in (
        ("upper_1", 0.3, "fore_1", neck), ("upper_2", 0.3, "fore_2", neck),
        ("thigh_1", 0.4, "shin_1", hip), ("thigh_2", 0.4, "shin_2", hip),
    ):  # fmt: skip
        middle = limb(start, angles[first], upper)
        joints += [middle, limb(middle, angles[first] + angles[lower], upper)]
    return np.stack(joints, axis=1)
