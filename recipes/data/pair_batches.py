"""Batches of sentence pairs in a handful of shapes, the same for the same seed and epoch."""

import keras
import numpy as np


class PairBatches(keras.utils.PyDataset):
    """Padded ids of sentences and their translations, and what is to be predicted at each step.

    XLA compiles anew for each shape. So pairs are sorted into a few widths, each batch is full,
    and where pairs are missing for that, rows of padding stand in, which no loss counts.

    Args:
        sources: List of int32 arrays, the ids of each sentence, with its end.
        targets: List of int32 arrays, the ids of each translation, with its end.
        batch_size: Integer, pairs in a batch.
        start: Integer, the id before the first of a translation.
        widths: Increasing integers, the lengths to pad to; a longer pair adds its own.
        shuffle_seed: Integer to shuffle by, or `None` to keep one order.
        epoch: Integer, epochs done in an earlier session.

    Each batch is `({"source": (B, W), "target": (B, W)}, labels (B, W))`, 0 for padding.
    """

    def __init__(self, sources, targets, batch_size, *, start, widths, shuffle_seed=None, epoch=0):
        super().__init__()
        self._sources, self._targets = sources, targets
        self._batch_size, self._start = batch_size, start
        self._seed, self._epoch = shuffle_seed, epoch
        self._lengths = np.array(
            [max(map(len, pair)) for pair in zip(sources, targets, strict=True)]
        )
        longest = int(self._lengths.max())
        self._widths = [*widths, *([longest] if longest > max(widths) else [])]
        self._batches = self._compose()

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        pairs, width = self._batches[index]
        # What the first two batches have in common Keras expects of all.
        if index == 0 and len(self) > 1 and self._batches[1][1] == width:
            width = next((w for w in self._widths if w > width), width + 1)
        source, target, labels = (np.zeros((self._batch_size, width), "int32") for _ in range(3))
        for row, pair in enumerate(pairs):
            ids, words = self._sources[pair], self._targets[pair]
            source[row, : len(ids)] = ids
            target[row, 0] = self._start
            target[row, 1 : len(words)] = words[:-1]
            labels[row, : len(words)] = words
        return {"source": source, "target": target}, labels

    def on_epoch_end(self):
        self._epoch += 1
        if self._seed is not None:
            self._batches = self._compose()

    def _compose(self):
        """A list of batches: the indices of their pairs, and their width."""
        order, rng = np.arange(len(self._lengths)), None
        if self._seed is not None:
            rng = np.random.default_rng((self._seed, self._epoch))
            order = rng.permutation(order)
        batches, rest = [], order[:0]
        for shorter, width in zip([0, *self._widths], self._widths, strict=False):
            fits = (self._lengths[order] > shorter) & (self._lengths[order] <= width)
            pairs = np.concatenate([rest, order[fits]])  # what was left over fits all the more
            full = len(pairs) - len(pairs) % self._batch_size
            batches += [(part, width) for part in pairs[:full].reshape(-1, self._batch_size)]
            rest = pairs[full:]
        if len(rest):
            batches.append((rest, next(w for w in self._widths if w >= self._lengths[rest].max())))
        if rng is not None:
            batches = [batches[index] for index in rng.permutation(len(batches))]
        return batches


def widths(sources, targets, count):
    """At most `count` widths; to pad each pair to the next of them takes the fewest steps.

    >>> widths([[1]] * 5, [[1] * length for length in (2, 3, 3, 4, 20)], count=2)
    [4, 20]
    """
    lengths = [max(map(len, pair)) for pair in zip(sources, targets, strict=True)]
    ends, numbers = np.unique(lengths, return_counts=True)
    before = np.concatenate([[0], np.cumsum(numbers)])  # pairs of the first i lengths
    # Dynamic programming: the fewest steps of the first i lengths, with one more width each round.
    steps = (before - before[:, None]) * np.concatenate([[0], ends])  # lengths j to i in one group
    steps = np.where(np.tri(len(steps), dtype=bool), np.inf, steps)
    best, cuts = np.where(before == 0, 0.0, np.inf), []
    for _ in range(min(count, len(ends))):
        costs = best[:, None] + steps
        cuts.append(costs.argmin(axis=0))
        best = costs.min(axis=0)
    found, place = [], len(ends)
    for cut in reversed(cuts):
        found.append(int(ends[place - 1]))
        place = cut[place]
    return found[::-1]
