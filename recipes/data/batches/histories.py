"""Batches of windows of histories."""

import numpy as np

from recipes.data.batches.base import Batches, pad, swap_second, widths


def padded(histories, length=None):
    """The ends of histories as int32 `(B, length)`, zeros at the left; by default none is cut.

    >>> padded([[1, 2, 3], [4]], length=2).tolist()
    [[2, 3], [0, 4]]
    """
    length = length or max(1, *map(len, histories))
    return pad([history[-length:] for history in histories], length, at_left=True)


class Windows(Batches):
    """Windows of histories, in which each item but the last is followed by one to predict.

    Every item of a history is predicted once an epoch or more, long histories in several windows.
    A batch holds windows of one width. There are eight of these at most, as code is compiled anew
    for each, and they are those that take the least padding for these histories.

    Args:
        histories: List of int32 arrays of items from 1.
        num_items: Integer, items from which negatives are drawn.
        max_history: Integer, steps of a window, at most.
        batch_size: Integer, steps in a batch, about: few long windows or many short ones.
        negatives: Integer N, items to draw for each step from those that the user never took.
        seed: Integer, of the order, the windows and the negatives.
        epoch: Integer, epochs done in an earlier session.

    Each batch is `({"history": (B, T), "target": (B, T), "negatives": (B, T, N)}, weights (B, T))`;
    without negatives that entry is missing. The weight is 1 where there is something to predict,
    else 0.
    """

    _WIDTHS = 8

    def __init__(
        self, histories, num_items, max_history, batch_size, *, negatives=0, seed=0, epoch=0
    ):
        self._histories, self._num_items, self._negatives = histories, num_items, negatives
        lengths = [len(history) - 1 for history in histories]
        self._longest = max_history
        rng = np.random.default_rng(0)  # which changes where windows lie, not how long they are
        spans = [span for length in lengths for span in self._spans(length, rng)]
        chosen = widths([end - start for start, end in spans], self._WIDTHS)
        self._sizes = {width: max(1, batch_size // width) for width in chosen}
        super().__init__(lengths, batch_size, shuffle_seed=seed, epoch=epoch, widths=chosen)

    def __getitem__(self, index):
        inputs, weights = super().__getitem__(index)
        if self._negatives:
            windows, _ = self._batches[index]
            inputs["negatives"] = self._draw(index, windows, weights.shape)
        return inputs, weights

    def _arrays(self, rows, width):
        windows = [self._histories[user][start : end + 1] for user, start, end in rows]
        size = self._sizes[width]  # the last batch of a width is filled with padding
        history = pad([items[:-1] for items in windows], width, size, at_left=True)
        target = pad([items[1:] for items in windows], width, size, at_left=True)
        return {"history": history, "target": target}, (target > 0).astype("float32")

    def _draw(self, index, windows, shape):
        rng = np.random.default_rng((self._seed, self._epoch, index))
        drawn = rng.integers(1, self._num_items + 1, (*shape, self._negatives), "int32")
        for row, (user, _, _) in enumerate(windows):
            taken = np.zeros(self._num_items + 1, bool)
            taken[self._histories[user]] = True
            if taken[1:].all():
                continue
            while (again := taken[drawn[row]]).any():
                drawn[row][again] = rng.integers(1, self._num_items + 1, again.sum(), "int32")
        return drawn

    def _bucket(self, rng):
        windows = {width: [] for width in self._sizes}
        for user in rng.permutation(len(self._histories)):
            for start, end in self._spans(self._lengths[user], rng):
                windows[self._width(end - start)].append((user, start, end))
        return [
            (windows_of[first : first + self._sizes[width]], width)
            for width, windows_of in windows.items()
            for first in range(0, len(windows_of), self._sizes[width])
        ]

    def _spans(self, count, rng):
        """Starts and ends of the fewest windows over `count` steps, the inner ones anywhere."""
        longest = self._longest
        if count <= longest:
            return [(0, count)] if count > 0 else []
        number = -(-count // longest)
        overlaps = np.sort(rng.integers(0, number * longest - count + 1, number))
        overlaps[0], overlaps[-1] = 0, number * longest - count
        starts = longest * np.arange(number) - overlaps
        return [(start, start + longest) for start in starts]

    def _part_first_two(self, batches):
        swap_second(batches)
