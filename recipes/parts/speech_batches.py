"""Batches of log-mel frames and of what is said in them; altered at random to train with.

SpecAugment masks bands and spans of time; speed and warp stretch time and frequencies a little, as
another speaker would.
"""

import dataclasses

import numpy as np

from recipes.data.batches import Batches, pad, swap_second, widths
from recipes.text.transcripts import END, START

_WIDTHS = 6  # that batches are padded to, at most: XLA, where it is used, compiles each anew


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How frames are altered; nothing by default.

    Attributes:
        time_masks, time_mask: Integers, spans that are masked, and frames of the longest.
        band_masks, band_mask: Integers, groups of bands that are masked, and bands of the largest.
        speed, warp: Floats in `[0, 1)`, by which share time and frequencies are stretched at most.

    Reference:
        Park et al., 2019 (SpecAugment), https://arxiv.org/abs/1904.08779; Jaitly & Hinton, 2013
        (warped frequencies); Ko et al., 2015 (speed).
    """

    time_masks: int = 0
    time_mask: int = 10
    band_masks: int = 0
    band_mask: int = 6
    speed: float = 0.0
    warp: float = 0.0

    def __call__(self, frames, most, rng):
        """Altered frames `(T', bands)`, of which there are `most` at most."""
        frames = np.asarray(frames, "float32")
        count, bands = frames.shape
        if self.speed:
            new = round(count * rng.uniform(1 - self.speed, 1 + self.speed))
            frames = _resized(frames, np.linspace(0, count - 1, min(max(1, new), most)))
        if self.warp:
            places = np.arange(bands) * rng.uniform(1 - self.warp, 1 + self.warp)
            frames = _resized(frames.T, np.minimum(places, bands - 1)).T
        if self.time_masks or self.band_masks:
            frames = frames.copy()
            mean = frames.mean()
            for _ in range(self.time_masks):
                start, end = _span(rng, len(frames), self.time_mask)
                frames[start:end] = mean
            for _ in range(self.band_masks):
                start, end = _span(rng, bands, self.band_mask)
                frames[:, start:end] = mean
        return frames


def _resized(x, places):
    """Rows of `x` at these places, between two rows linearly."""
    before = places.astype(int)
    after = np.minimum(before + 1, len(x) - 1)
    share = (places - before)[:, None].astype("float32")
    return x[before] * (1 - share) + x[after] * share


def _span(rng, count, longest):
    size = rng.integers(0, min(longest, count) + 1)
    start = rng.integers(0, count - size + 1)
    return start, start + size


def pad_frames(frames, width, count=None):
    """Frames as float32 `(count, width, bands)` with zeros behind, and the length of each row."""
    count = len(frames) if count is None else count
    padded = np.zeros((count, width, frames[0].shape[1]), "float32")
    lengths = np.zeros(count, "int32")
    for row, one in enumerate(frames):
        padded[row, : len(one)] = one
        lengths[row] = len(one)
    return padded, lengths


class SpeechBatches(Batches):
    """Frames of about the same length, in full batches, and what is said in them.

    Args:
        frames: List of arrays `(T, bands)`.
        ids: List of int32 arrays, the tokens of each text, without start and end.
        batch_size: Integer B. Where rows are missing, empty ones stand, which no loss counts.
        augmentation: `Augmentation`, or `None`.
        **options: As for `Batches`.

    Each batch is `({"frames": (B, W, bands), "length": (B,), "tokens": (B, L)}, labels (B, L))`;
    tokens begin with the start, labels are the next of each, 0 for padding.
    """

    def __init__(self, frames, ids, batch_size, *, augmentation=None, **options):
        self._frames, self._ids, self._augmentation = frames, ids, augmentation
        lengths = np.array([len(one) for one in frames])
        # A width for some batches alone would not be worth its compilation.
        count = min(_WIDTHS, max(1, len(frames) // batch_size // 16))
        chosen = widths(-(-lengths // 8) * 8, count)
        self._tokens, most = {}, 0  # of a width the tokens of the longest text
        for width in chosen:
            longest = max(len(row) for row, n in zip(ids, lengths, strict=True) if n <= width)
            # More than of the width before: two batches that differ in one size differ in both.
            self._tokens[width] = most = max(1 + longest, most + 1)
        super().__init__(lengths, min(batch_size, len(frames)), widths=chosen, **options)

    def _arrays(self, rows, width):
        frames = [self._frames[row] for row in rows]
        if self._augmentation is not None and self._seed is not None:
            rng = np.random.default_rng((self._seed, self._epoch, *map(int, rows[:2])))
            frames = [self._augmentation(one, width, rng) for one in frames]
        frames, lengths = pad_frames(frames, width, self._batch_size)
        ids = [self._ids[row] for row in rows]
        size = self._tokens[width]
        tokens = pad([[START, *row] for row in ids], size, self._batch_size)
        labels = pad([[*row, END] for row in ids], size, self._batch_size)
        return {"frames": frames, "length": lengths, "tokens": tokens}, labels

    def _part_first_two(self, batches):
        swap_second(batches)
