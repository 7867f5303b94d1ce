"""Batches of windows of histories, padded at the left, the same for the same seed and epoch."""

import keras
import numpy as np


def padded(histories, length=None):
    """The ends of histories as int32 `(B, length)`, zeros at the left; by default none is cut."""
    length = length or max(1, *map(len, histories))
    rows = np.zeros((len(histories), length), "int32")
    for row, history in zip(rows, histories, strict=True):
        end = history[-length:]
        row[length - len(end) :] = end
    return rows


class Windows(keras.utils.PyDataset):
    """Windows in which each item but the last is followed by one to predict.

    Every item of a history is predicted once an epoch or more, long histories in several windows.
    A batch holds windows of one length, an eighth of `max_history`, two eighths and so on: short
    histories then take little padding, and compiled code meets eight shapes.

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

    def __init__(
        self, histories, num_items, max_history, batch_size, *, negatives=0, seed=0, epoch=0
    ):
        super().__init__()
        self._histories = histories
        self._num_items, self._negatives = num_items, negatives
        self._seed, self._epoch = seed, epoch
        lengths = sorted({-(-max_history * eighths // 8) for eighths in range(1, 9)})
        self._sizes = {length: max(1, batch_size // length) for length in lengths}
        self._batches = self._compose()

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        length, chosen = self._batches[index]
        shape = (self._sizes[length], length)  # the last batch of a length is filled with padding
        history, target = np.zeros(shape, "int32"), np.zeros(shape, "int32")
        for row, (user, start, end) in enumerate(chosen):
            items = self._histories[user][start : end + 1]
            history[row, length - len(items) + 1 :] = items[:-1]
            target[row, length - len(items) + 1 :] = items[1:]
        inputs = {"history": history, "target": target}
        if self._negatives:
            inputs["negatives"] = self._draw(index, chosen, shape)
        return inputs, (target > 0).astype("float32")

    def on_epoch_end(self):
        self._epoch += 1
        self._batches = self._compose()

    def _draw(self, index, chosen, shape):
        rng = np.random.default_rng((self._seed, self._epoch, index))
        shape = (*shape, self._negatives)
        drawn = rng.integers(1, self._num_items + 1, shape, "int32")
        for row, (user, _, _) in enumerate(chosen):
            taken = np.zeros(self._num_items + 1, bool)
            taken[self._histories[user]] = True
            if taken[1:].all():
                continue
            while (again := taken[drawn[row]]).any():
                drawn[row][again] = rng.integers(1, self._num_items + 1, again.sum(), "int32")
        return drawn

    def _compose(self):
        """Pairs of a length and a list of windows `(user, start, end)`."""
        rng = np.random.default_rng((self._seed, self._epoch))
        windows = {length: [] for length in self._sizes}
        for user in rng.permutation(len(self._histories)):
            for start, end in self._cut(len(self._histories[user]) - 1, rng):
                length = min(length for length in windows if length >= end - start)
                windows[length].append((user, start, end))
        batches = [
            (length, of_length[first : first + self._sizes[length]])
            for length, of_length in windows.items()
            for first in range(0, len(of_length), self._sizes[length])
        ]
        batches = [batches[index] for index in rng.permutation(len(batches))]
        # What the first two batches have in common Keras expects of all.
        other = next((i for i, batch in enumerate(batches) if batch[0] != batches[0][0]), 0)
        if other:
            batches[1], batches[other] = batches[other], batches[1]
        return batches

    def _cut(self, count, rng):
        """Starts and ends of the fewest windows over `count` steps, the inner ones anywhere."""
        longest = max(self._sizes)
        if count <= longest:
            return [(0, count)] if count > 0 else []
        number = -(-count // longest)
        overlaps = np.sort(rng.integers(0, number * longest - count + 1, number))
        overlaps[0], overlaps[-1] = 0, number * longest - count
        starts = longest * np.arange(number) - overlaps
        return [(start, start + longest) for start in starts]
