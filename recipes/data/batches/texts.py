"""Batches of texts, and of documents as rows of sentences."""

import numpy as np

from recipes.data.batches.base import Batches, pad
from recipes.text import sentences


class PaddedBatches(Batches):
    """Texts and, beside them, what the model to train is told of a text's own class.

    Args:
        texts: List of int32 arrays, the ids of each text.
        labels: int32 array, the class of each text.
        batch_size: Integer, texts in a batch; fewer where they are long, see `_STEPS`.
        names_own_class: Whether `own_class` is the label counted from 1, or 0; `None` for ids
            alone.
        **options: As for `Batches`.

    Each batch is `({"ids": (B, T), "own_class": (B, 1)}, labels (B,))`, or `(ids, labels)`.
    """

    # Texts times the length of the longest: a word piece takes some hundreds of bytes.
    _STEPS = 200_000

    def __init__(self, texts, labels, batch_size, *, names_own_class=False, **options):
        self._texts, self._labels = texts, np.asarray(labels)
        self._names_own_class = names_own_class
        super().__init__([max(1, len(text)) for text in texts], batch_size, **options)

    def _arrays(self, rows, width):
        labels = self._labels[rows]
        ids = self._ids([self._texts[row] for row in rows], width)
        if self._names_own_class is None:
            return ids, labels
        own_class = (labels[:, None] + 1) * self._names_own_class
        return {"ids": ids, "own_class": own_class.astype("int32")}, labels

    def _ids(self, texts, width):
        return pad(texts, width)

    def _cut(self, rows):
        batches, end = [], len(rows)
        while end > 0:  # from the longest down: the first of a batch bounds its size
            fitting = self._fitting(int(self._lengths[rows[end - 1]]))
            start = max(0, end - min(self._batch_size, max(1, fitting)))
            batches.append(rows[start:end])
            end = start
        return batches

    def _fitting(self, longest):
        """How many texts of this length fit into a batch."""
        return self._STEPS // longest


class DocumentBatches(PaddedBatches):
    """The same for texts in sentences, with what each text counts in the counts of n-grams.

    Args:
        documents: List of lists of lists of ids: texts, their sentences, their word pieces.
        labels, batch_size, **options: As for `PaddedBatches`.
        max_words: Integer W, pieces in the longest sentence.
        shares: float32 array, what each text counts; zeros by default.
        gap: Integer, steps of padding behind each sentence.

    Each batch is `({"ids": (B, N, W + gap), "own_class": (B, 1), "own_share": (B, 1)}, labels)`, or
    `(ids, labels)`.
    """

    # Sentences in a batch: each piece takes some kilobytes.
    _ROWS = 2_000

    def __init__(
        self, documents, labels, batch_size, *, max_words, shares=None, gap=sentences.GAP, **options
    ):
        self._max_words, self._gap = max_words, gap
        self._shares = np.zeros(len(documents)) if shares is None else shares
        super().__init__(documents, labels, batch_size, **options)

    def _arrays(self, rows, width):
        inputs, labels = super()._arrays(rows, width)
        if self._names_own_class is None:
            return inputs, labels
        return {**inputs, "own_share": self._shares[rows, None].astype("float32")}, labels

    def _ids(self, texts, width):
        ids = sentences.grid(texts, self._max_words, self._gap)
        return np.pad(ids, ((0, 0), (0, width - ids.shape[1]), (0, 0)))

    def _fitting(self, longest):
        return self._ROWS // longest
