"""Probabilities from scores."""

import numpy as np


def softmax(scores):
    """The softmax over the last axis of an array.

    >>> softmax(np.array([[0.0, -np.inf, 0.0]])).tolist()
    [[0.5, 0.0, 0.5]]
    """
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)
