"""Batches of clips, altered at random to train with."""

import dataclasses

import numpy as np

from recipes.data.batches.base import Batches


@dataclasses.dataclass(frozen=True)
class ClipAugmentation:
    """How the frames of a clip are altered; nothing by default.

    What is done to joints alone leaves other numbers as they are.

    Attributes:
        joints: Whether the numbers of a frame are x and y of joints in turn.
        mirror: Whether left and right are swapped in every other clip.
        pairs: Tuple of pairs of joints, left and right, that are swapped with them.
        rotation: Number, degrees by which a clip is turned, at most.
        stretch: Float in `[0, 1)`, share by which width and height are stretched, each, at most.
        noise: Number, standard deviation of what is added to each joint, in shares of the clip's
            spread.
        crop: Float in `[0, 1)`, share of the frames that is cut off, at most.
        speed: Float in `[0, 1)`, share by which time is stretched, at most.
        frame_dropout: Float in `[0, 1)`, share of the frames that is left out.
    """

    joints: bool = True
    mirror: bool = False
    pairs: tuple = ()
    rotation: float = 0.0
    stretch: float = 0.0
    noise: float = 0.0
    crop: float = 0.0
    speed: float = 0.0
    frame_dropout: float = 0.0

    def __call__(self, frames, most, rng):
        """Altered frames `(T', N)`, of which there are `most` at most."""
        count = len(frames)
        kept = max(1, count - int(count * rng.uniform(0, self.crop)))
        start = rng.integers(0, count - kept + 1)
        new = round(kept * rng.uniform(1 - self.speed, 1 + self.speed))
        places = start + np.linspace(0, kept - 1, min(max(1, new), most))
        frames = _between(frames, places)
        if self.frame_dropout:
            stays = rng.random(len(frames)) >= self.frame_dropout
            stays[rng.integers(len(frames))] = True
            frames = frames[stays]
        return self._moved(frames, rng) if self.joints else frames

    def _moved(self, frames, rng):
        x = frames.reshape(len(frames), -1, 2)
        middle = x.mean((0, 1))
        x = x - middle
        if self.mirror and rng.random() < 0.5:
            x = x * np.array([-1, 1], x.dtype)
            order = np.arange(x.shape[1])
            for left, right in self.pairs:
                order[[left, right]] = right, left
            x = x[:, order]
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        x = x @ (turn * (1 + rng.uniform(-self.stretch, self.stretch, (1, 2))))
        x = x + rng.normal(0, 1, x.shape) * (self.noise * x.std())
        return (x + middle).reshape(frames.shape).astype("float32")


def _between(frames, places):
    """Frames at these places, between two frames linearly."""
    before = places.astype(int)
    after = np.minimum(before + 1, len(frames) - 1)
    share = (places - before)[:, None].astype("float32")
    return frames[before] * (1 - share) + frames[after] * share


def pad_clips(clips, width):
    """Clips `(T, N)` as float32 `(B, width, N)`, with frames of zeros behind."""
    padded = np.zeros((len(clips), width, clips[0].shape[1]), "float32")
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return padded


class ClipBatches(Batches):
    """Clips and their labels, all padded to the longest, so that one width is compiled.

    Args:
        clips: List of float32 arrays `(T, N)`.
        labels: int32 array, one per clip.
        batch_size: Integer B.
        augmentation: `ClipAugmentation`, or `None`.
        **options: As for `Batches`.

    Each batch is `(frames (B, W, N), labels (B,))`.
    """

    def __init__(self, clips, labels, batch_size, *, augmentation=None, **options):
        self._clips, self._labels, self._augmentation = clips, labels, augmentation
        lengths = [len(clip) for clip in clips]
        super().__init__(lengths, batch_size, widths=[max(lengths)], **options)

    def _arrays(self, rows, width):
        clips = [self._clips[row] for row in rows]
        if self._augmentation is not None and self._seed is not None:
            rng = np.random.default_rng((self._seed, self._epoch, *map(int, rows[:2])))
            clips = [self._augmentation(clip, width, rng) for clip in clips]
        return pad_clips(clips, width), self._labels[rows]

    def _part_first_two(self, batches):
        """All have one width."""
