"""Arrays of what the maps are tested on: probabilities from scores, and widths of batches."""

import numpy as np


def softmax(scores):
    """The softmax over the last axis of an array.

    >>> softmax(np.array([[0.0, -np.inf, 0.0]])).tolist()
    [[0.5, 0.0, 0.5]]
    """
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def width_of(rows, step):
    """The length of the longest row, rounded up to a multiple of `step`, which it is at least.

    Each width is traced anew, so there should be few.

    >>> width_of([[1, 2, 3], [4]], step=2), width_of([[]], step=2)
    (4, 2)
    """
    return step * -(-max(1, *map(len, rows)) // step)
