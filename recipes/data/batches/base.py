"""What all batches stand on: rows of similar length together, alike for a seed and an epoch."""

import keras
import numpy as np


def pad(sequences, width, count=None, *, at_left=False):
    """Sequences of ids as int32 `(count, width)`, with zeros behind them, or before them.

    >>> pad([[1, 2], [3]], width=3, count=3).tolist()
    [[1, 2, 0], [3, 0, 0], [0, 0, 0]]
    """
    ids = np.zeros((len(sequences) if count is None else count, width), "int32")
    for row, sequence in enumerate(sequences):
        start = width - len(sequence) if at_left else 0
        ids[row, start : start + len(sequence)] = sequence
    return ids


class Batches(keras.utils.PyDataset):
    """Batches of rows of similar length: little padding, yet a random order.

    A subclass overrides `_arrays`, and perhaps `_width` (to pad to few widths, as XLA compiles
    anew for each), `_cut` (what forms a batch) and `_part_first_two`.

    Args:
        lengths: Sequence of integers, the length of each row.
        batch_size: Integer, rows in a batch.
        shuffle_seed: Integer to shuffle by, anew in each epoch; or `None` to keep one order.
        epoch: Integer, epochs done in an earlier session.
        widths: Increasing integers, the lengths to pad to; a longer row is padded to itself.
    """

    def __init__(self, lengths, batch_size, *, shuffle_seed=None, epoch=0, widths=()):
        super().__init__()
        self._lengths, self._widths = np.asarray(lengths), widths
        self._batch_size, self._seed, self._epoch = batch_size, shuffle_seed, epoch
        self._compose()

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._arrays(*self._batches[index])

    def on_epoch_end(self):
        self._epoch += 1
        if self._seed is not None:
            self._compose()

    def _arrays(self, rows, width):
        """What Keras is given of these rows, padded to a width."""
        raise NotImplementedError

    def _compose(self):
        """Sets the batches of an epoch: pairs of rows and a width."""
        rng = None if self._seed is None else np.random.default_rng((self._seed, self._epoch))
        batches = self._bucket(rng)
        if rng is not None:
            batches = [batches[index] for index in rng.permutation(len(batches))]
        # Keras expects of all batches what the first two have in common, such as a width.
        if len(batches) > 1:
            self._part_first_two(batches)
        self._batches = batches

    def _part_first_two(self, batches):
        """Changes the first two batches if they are equally wide: one is padded more."""
        rows, width = batches[0]
        if width == batches[1][1]:
            batches[0] = rows, self._wider(width)

    def _wider(self, width):
        """A width above another, of those to pad to if there is one."""
        return next((wider for wider in self._widths if wider > width), width + 1)

    def _bucket(self, rng):
        """Returns the batches in any order. Here: sorted by length within large random groups."""
        order, size = np.arange(len(self._lengths)), max(1, len(self._lengths))
        if rng is not None:
            order, size = rng.permutation(order), 50 * self._batch_size
        batches = []
        for start in range(0, len(order), size):
            group = order[start : start + size]
            group = group[np.argsort(self._lengths[group], kind="stable")]
            batches += [(rows, self._width(self._lengths[rows].max())) for rows in self._cut(group)]
        return batches

    def _cut(self, rows):
        """Returns a list of batches of rows, which come sorted by length."""
        starts = range(0, len(rows), self._batch_size)
        return [rows[start : start + self._batch_size] for start in starts]

    def _width(self, longest):
        """To what a batch is padded."""
        return next((width for width in self._widths if width >= longest), longest)


def swap_second(batches):
    """Puts a batch of another width than the first in the second place, if there is one."""
    for index, (_, width) in enumerate(batches):
        if width != batches[0][1]:
            batches[1], batches[index] = batches[index], batches[1]
            return


def widths(lengths, count):
    """At most `count` widths; to pad each row to the next of them takes the fewest steps.

    >>> widths([2, 3, 3, 4, 20], count=2)
    [4, 20]
    """
    ends, numbers = np.unique(lengths, return_counts=True)
    before = np.concatenate([[0], np.cumsum(numbers)])  # rows of the first i lengths
    # Dynamic programming: the fewest steps of the first i lengths, with one more width each round.
    steps = (before - before[:, None]) * np.concatenate([[0], ends])  # lengths j to i in one group
    steps = np.where(np.tri(len(steps), dtype=bool), np.inf, steps)
    best, cuts = np.where(before == 0, 0.0, np.inf), []
    for _ in range(min(count, len(ends))):
        costs = best[:, None] + steps
        cuts.append(costs.argmin(axis=0))
        best = costs.min(axis=0)
    chosen, end = [], len(ends)
    for cut in reversed(cuts):
        chosen.append(int(ends[end - 1]))
        end = cut[end]
    return chosen[::-1]
