"""Batches of windows of one stream of text."""

import numpy as np

from recipes.data.batches.base import Batches


class StreamBatches(Batches):
    """Windows of equal length of one stream, in which documents stand packed one after another.

    Where the windows begin is drawn anew in each epoch, and the stream goes on from its end to its
    beginning. All batches are full.

    Args:
        documents: List of int32 arrays.
        batch_size: Integer B, windows in a batch; fewer if there are no more.
        length: Integer T, tokens of a window.
        border: Integer, the token before each document and after the last.
        **options: As for `Batches`.

    Each batch is `({"tokens": (B, T), "segment_ids": (B, T)}, labels (B, T))`: each label is the
    token after, the border after the last of a document.
    """

    def __init__(self, documents, batch_size, length, border, **options):
        self._stream = np.concatenate([np.insert(document, 0, border) for document in documents])
        self._segments = np.cumsum(self._stream == border)
        self._length = length
        count = max(1, len(self._stream) // length)
        super().__init__(np.full(count, length), min(batch_size, count), **options)

    def _arrays(self, rows, width):
        at = self._start + rows[:, None] * width + np.arange(width + 1)  # (B, T + 1)
        rounds, at = np.divmod(at, len(self._stream))
        tokens = self._stream[at].astype("int32")
        segments = self._segments[at] + rounds * self._segments[-1]
        inputs = {"tokens": tokens[:, :-1], "segment_ids": segments[:, :-1].astype("int32")}
        return inputs, tokens[:, 1:]

    def _bucket(self, rng):
        rows, self._start = np.arange(len(self._lengths)), 0
        if rng is not None:
            rows, self._start = rng.permutation(rows), rng.integers(self._length)
        full = len(rows) - len(rows) % self._batch_size
        return [(some, self._length) for some in rows[:full].reshape(-1, self._batch_size)]

    def _part_first_two(self, batches):
        """All batches have the one shape that XLA compiles."""
