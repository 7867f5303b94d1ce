"""Batches of pairs of texts: one is read, the other is written."""

import numpy as np

from recipes.data.batches.base import Batches, pad


def longer_sides(sources, targets):
    """The length of the longer side of each pair."""
    return [max(map(len, pair)) for pair in zip(sources, targets, strict=True)]


class PairBatches(Batches):
    """Sentences and their translations in few shapes, and what is to be predicted at each step.

    XLA compiles anew for each shape. So pairs are sorted into a few widths, each batch is full,
    and where pairs are missing for that, rows of padding stand in, which no loss counts.

    Args:
        sources: List of int32 arrays, the ids of each sentence, with its end.
        targets: List of int32 arrays, the ids of each translation, with its end.
        batch_size: Integer, pairs in a batch.
        start: Integer, the id before the first of a translation.
        widths: Increasing integers, the lengths to pad to; a longer pair adds its own.
        **options: As for `Batches`.

    Each batch is `({"source": (B, W), "target": (B, W)}, labels (B, W))`, 0 for padding.
    """

    def __init__(self, sources, targets, batch_size, *, start, widths, **options):
        self._sources, self._targets, self._start = sources, targets, start
        lengths = longer_sides(sources, targets)
        longest = max(lengths)
        widths = [*widths, *([longest] if longest > max(widths) else [])]
        super().__init__(lengths, batch_size, widths=widths, **options)

    def _arrays(self, rows, width):
        source = pad([self._sources[row] for row in rows], width, self._batch_size)
        targets = [self._targets[row] for row in rows]
        labels = pad(targets, width, self._batch_size)
        target = pad([[self._start, *ids[:-1]] for ids in targets], width, self._batch_size)
        return {"source": source, "target": target}, labels

    def _bucket(self, rng):
        order = np.arange(len(self._lengths))
        if rng is not None:
            order = rng.permutation(order)
        batches, rest = [], order[:0]
        for shorter, width in zip([0, *self._widths], self._widths, strict=False):
            fits = (self._lengths[order] > shorter) & (self._lengths[order] <= width)
            pairs = np.concatenate([rest, order[fits]])  # the rest is shorter still
            full = len(pairs) - len(pairs) % self._batch_size
            batches += [(part, width) for part in pairs[:full].reshape(-1, self._batch_size)]
            rest = pairs[full:]
        if len(rest):
            batches.append((rest, self._width(self._lengths[rest].max())))
        return batches


class SummaryBatches(Batches):
    """Documents and their summaries in few shapes, and what is to be predicted at each step.

    XLA compiles anew for each shape. So each batch is full, and where pairs are missing for that,
    rows of padding stand in, which no loss counts.

    Args:
        sources, targets: Lists of int32 arrays, the words of each pair; a target with its end.
        batch_size: Integer, pairs in a batch.
        start: Integer, the word before the first of a summary.
        shapes: List of pairs of integers, the lengths of source and target to pad to, both
            increasing; what is longer than the last adds a shape.
        **options: As for `Batches`.

    Each batch is `({"source": (B, S), "target": (B, T), "labels": (B, T)}, labels)`, 0 for padding.
    """

    def __init__(self, sources, targets, batch_size, *, start, shapes, **options):
        self._sources, self._targets, self._start = sources, targets, start
        lengths = np.array([(len(s), len(t)) for s, t in zip(sources, targets, strict=True)])
        longest = tuple(np.maximum(lengths.max(axis=0), shapes[-1]).tolist())
        self._shapes = [*shapes, *([longest] if longest != shapes[-1] else [])]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, rows, shape):
        count = self._batch_size
        source = pad([self._sources[row] for row in rows], shape[0], count)
        targets = [self._targets[row] for row in rows]
        labels = pad(targets, shape[1], count)
        target = pad([[self._start, *words[:-1]] for words in targets], shape[1], count)
        return {"source": source, "target": target, "labels": labels}, labels

    def _part_first_two(self, batches):
        # What differs at all differs between the smallest and the largest shape.
        for place, choose in enumerate((min, max)):
            index = choose(range(place, len(batches)), key=lambda index: batches[index][1])
            batches[place], batches[index] = batches[index], batches[place]

    def _bucket(self, rng):
        left = np.arange(len(self._lengths))
        if rng is not None:
            left = rng.permutation(left)
        batches = []
        for shape in self._shapes:
            fits = (self._lengths[left] <= shape).all(axis=1)
            starts = range(0, fits.sum(), self._batch_size)
            batches += [(left[fits][n : n + self._batch_size], shape) for n in starts]
            left = left[~fits]
        return batches
