"""Batches of texts of similar length, padded, the same for the same seed and epoch."""

import keras
import numpy as np

from recipes.text import sentences


class PaddedBatches(keras.utils.PyDataset):
    """Padded ids and, beside them, what the model to train is told of a text's own class.

    Args:
        texts: List of int32 arrays, the ids of each text.
        labels: int32 array, the class of each text.
        batch_size: Integer, texts in a batch; fewer where they are long, see `_AREA`.
        shuffle_seed: Integer to shuffle by, or `None` to keep one order.
        names_own_class: Whether `own_class` is the label counted from 1, or 0.
        epoch: Integer, epochs done in an earlier session.

    Each batch is `({"ids": (B, T), "own_class": (B, 1)}, labels (B,))`.
    """

    # Texts times square of the length: what compares all steps with all steps takes some 10 bytes
    # for each.
    _AREA = 12_000_000

    def __init__(
        self, texts, labels, batch_size, *, shuffle_seed=None, names_own_class=False, epoch=0
    ):
        super().__init__()
        self._texts, self._labels = texts, np.asarray(labels)
        self._lengths = np.array([max(1, len(text)) for text in texts])
        self._batch_size, self._seed, self._epoch = batch_size, shuffle_seed, epoch
        self._names_own_class = names_own_class
        self._batches = self._compose()

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        chosen = self._batches[index]
        labels = self._labels[chosen]
        own_class = (labels[:, None] + 1) * self._names_own_class
        inputs = {"ids": self._ids(chosen, self._width(index))}
        return {**inputs, "own_class": own_class.astype("int32")}, labels

    def _ids(self, chosen, width):
        ids = np.zeros((len(chosen), width), "int32")
        for row, text in enumerate(chosen):
            ids[row, : len(self._texts[text])] = self._texts[text]
        return ids

    def _width(self, index):
        """Length of a batch: that of its longest text.

        What the first two batches have in common Keras expects of all. So where they are equally
        long, the first gets a step of padding more.
        """
        longest = self._lengths[self._batches[index]].max()
        if index == 0 and len(self._batches) > 1:
            return longest + (longest == self._lengths[self._batches[1]].max())
        return longest

    def on_epoch_end(self):
        self._epoch += 1
        if self._seed is not None:
            self._batches = self._compose()

    def _compose(self):
        order = np.arange(len(self._texts))
        if self._seed is None:
            return self._cut(order)
        # Sorted by length within large random groups: little padding, yet random batches.
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(order)
        group = 50 * self._batch_size
        batches = [
            batch
            for start in range(0, len(order), group)
            for batch in self._cut(order[start : start + group])
        ]
        return [batches[index] for index in rng.permutation(len(batches))]

    def _cut(self, texts):
        """Batches of the texts, sorted by length."""
        texts = texts[np.argsort(self._lengths[texts], kind="stable")]
        batches, end = [], len(texts)
        while end > 0:  # from the longest down: the first of a batch bounds its size
            fitting = self._fitting(int(self._lengths[texts[end - 1]]))
            start = max(0, end - min(self._batch_size, max(1, fitting)))
            batches.append(texts[start:end])
            end = start
        return batches

    def _fitting(self, longest):
        """How many texts of so many steps fit into a batch."""
        return self._AREA // longest**2


class DocumentBatches(PaddedBatches):
    """The same for texts in sentences, with what each text counts in the counts of n-grams.

    Args:
        documents: List of lists of lists of ids: texts, their sentences, their word pieces.
        labels, batch_size, **options: As for `PaddedBatches`.
        max_words: Integer W, pieces in the longest sentence.
        shares: float32 array, what each text counts; zeros by default.

    Each batch is `({"ids": (B, N, W + GAP), "own_class": (B, 1), "own_share": (B, 1)}, labels)`.
    """

    # Sentences in a batch: each piece takes some kilobytes.
    _ROWS = 2_000

    def __init__(self, documents, labels, batch_size, *, max_words, shares=None, **options):
        self._max_words = max_words
        self._shares = np.zeros(len(documents)) if shares is None else shares
        super().__init__(documents, labels, batch_size, **options)

    def __getitem__(self, index):
        inputs, labels = super().__getitem__(index)
        own_share = self._shares[self._batches[index], None].astype("float32")
        return {**inputs, "own_share": own_share}, labels

    def _ids(self, chosen, width):
        ids = sentences.grid([self._texts[text] for text in chosen], self._max_words)
        return np.pad(ids, ((0, 0), (0, width - ids.shape[1]), (0, 0)))

    def _fitting(self, longest):
        return self._ROWS // longest
