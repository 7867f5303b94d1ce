"""Batches of captions with what the model sees of their images, alike for a seed and an epoch."""

import keras
import numpy as np

_STEP = 4  # lengths are rounded up to a multiple: each length is traced for itself


class CaptionBatches(keras.utils.PyDataset):
    """Captions of about the same length, padded with 0, with their images.

    Args:
        seen: Array `(N, ...)`, of each image what the model is given.
        captions: List of N lists of integer arrays, each image's captions from the start to the
            end token.
        batch_size: Integer B. The last batch is filled up with empty captions: every batch has the
            same size.
        name: String, the name of the model's input for `seen`.
        shuffle_seed: Integer to shuffle by, or `None` to keep one order.
        mirrored: `None`, or a pair like `(seen, captions)` of the images with left and right
            swapped: each caption then comes with either, drawn anew in each epoch.
        epoch: Integer, epochs done in an earlier session.

    Each batch is `({name: (B, ...), "words": (B, 1 + T)}, labels (B, T))`; the labels are the
    words from the second on.
    """

    def __init__(
        self, seen, captions, batch_size, *, name, shuffle_seed=None, mirrored=None, epoch=0
    ):
        super().__init__()
        self._sides = [(seen, captions), *([mirrored] if mirrored else [])]
        self._pairs = [(row, n) for row, some in enumerate(captions) for n in range(len(some))]
        self._lengths = np.array([len(captions[row][n]) for row, n in self._pairs])
        self._batch_size, self._name = batch_size, name
        self._seed, self._epoch = shuffle_seed, epoch
        self._compose()

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        chosen = self._batches[index]
        words = np.zeros((self._batch_size, self._width(index)), "int32")
        rows = np.zeros(self._batch_size, "int64")
        sides = np.zeros(self._batch_size, "int64")
        for place, number in enumerate(chosen):
            rows[place], n = self._pairs[number]
            sides[place] = self._drawn_sides[number]
            caption = self._sides[sides[place]][1][rows[place]][n]
            words[place, : len(caption)] = caption
        first, *others = (seen for seen, _ in self._sides)
        seen = first[rows]
        for side, other in enumerate(others, start=1):
            seen[sides == side] = other[rows[sides == side]]
        return {self._name: seen, "words": words}, words[:, 1:]

    def on_epoch_end(self):
        self._epoch += 1
        if self._seed is not None:
            self._compose()

    def _width(self, index):
        longest = self._lengths[self._batches[index]].max() - 1
        return 1 + _STEP * int(np.ceil(longest / _STEP))

    def _compose(self):
        order = np.arange(len(self._pairs))
        self._drawn_sides = np.zeros(len(order), "int64")
        if self._seed is None:
            self._batches = self._cut(order)
            self._differ_at_first()
            return
        # Sorted by length within large random groups: little padding, yet random batches.
        rng = np.random.default_rng((self._seed, self._epoch))
        self._drawn_sides = rng.integers(len(self._sides), size=len(order))
        order = rng.permutation(order)
        group = 50 * self._batch_size
        batches = [
            batch
            for start in range(0, len(order), group)
            for batch in self._cut(order[start : start + group])
        ]
        self._batches = [batches[index] for index in rng.permutation(len(batches))]
        self._differ_at_first()

    def _cut(self, captions):
        captions = captions[np.argsort(self._lengths[captions], kind="stable")]
        starts = range(0, len(captions), self._batch_size)
        return [captions[start : start + self._batch_size] for start in starts]

    def _differ_at_first(self):
        """What the first two batches have in common, such as a length, Keras expects of all."""
        width = self._width(0)
        other = next((n for n in range(len(self)) if self._width(n) != width), None)
        if other is not None:
            self._batches[1], self._batches[other] = self._batches[other], self._batches[1]
