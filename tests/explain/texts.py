"""Texts as ids, and functions that judge them, of which the truth is known."""

import keras
import numpy as np


def judge_steps(x, seen):
    """Probabilities of three classes that change with what the steps hold, and where it stands."""
    place = 1 / (1 + np.arange(x.shape[1]))
    score = np.where(seen, np.sin(x) * place, 0).sum(1) + 0.1 * seen.sum(1)
    return keras.ops.convert_to_numpy(
        keras.ops.softmax(np.stack([score, 0.3 - score, 0 * score], axis=1), axis=-1)
    )


def judge(ids):
    return judge_steps(ids, ids != 0)


def make_texts(rows=9, steps=13, seed=0):
    """Ids of different lengths, among them one and none."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 20, size=(rows, steps))
    for row, length in zip(ids, [steps, 1, 0, *rng.integers(2, steps, rows - 3)], strict=True):
        row[length:] = 0
    return ids


def planted(rows, steps=10, seed=0, late=False):
    """Texts in which a 1 or a 2 decides, and the place of that word; late: in the second half."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, 12, size=(rows, steps))
    labels, lengths = rng.integers(0, 2, rows), rng.integers(5, steps + 1, rows)
    places = rng.integers(lengths // 2 if late else 0, lengths - late)  # nor last, if late
    ids[np.arange(steps) >= lengths[:, None]] = 0
    ids[np.arange(rows), places] = 1 + labels
    return ids, labels, places


def looks_for_the_planted(ids):
    score = 3.0 * (ids == 2).sum(1) - 3.0 * (ids == 1).sum(1)
    return 1 / (1 + np.exp(-score))
