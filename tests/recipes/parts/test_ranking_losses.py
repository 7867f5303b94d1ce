"""Losses over the candidates of a query, written out in NumPy."""

import numpy as np
import pytest

from recipes.parts.ranking_losses import LOSSES

LABELS = np.array([1, 0, 0, 1, 1, 0], "float32")
QUERIES = np.array([0, 0, 0, 1, 1, 1], "float32")
SCORES = np.array([0.3, 1.0, -0.5, 2.0, 0.1, 0.4], "float32")
TARGETS = np.stack([LABELS, QUERIES], axis=1)


def test_listwise():
    rows = [slice(0, 3), slice(3, 6)]
    logs = [SCORES[row] - np.log(np.exp(SCORES[row]).sum()) for row in rows]
    expected = -(logs[0][0] + (logs[1][0] + logs[1][1]) / 2) / 2
    assert float(LOSSES["listwise"](TARGETS, SCORES[:, None])) == pytest.approx(expected, rel=1e-5)


def test_pairwise():
    def loss(right, wrong):
        return np.log1p(np.exp(SCORES[wrong] - SCORES[right]))

    expected = ((loss(0, 1) + loss(0, 2)) / 2 + (loss(3, 5) + loss(4, 5)) / 2) / 2
    assert float(LOSSES["pairwise"](TARGETS, SCORES[:, None])) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_other_queries_change_nothing(name):
    one = LOSSES[name](TARGETS[:3], SCORES[:3, None])
    # A query without a right candidate teaches nothing.
    both = LOSSES[name](
        np.array([*TARGETS[:3], [0, 7], [0, 7]], "float32"),
        np.array([*SCORES[:3], 5, -5], "float32")[:, None],
    )
    assert float(one) == pytest.approx(float(both), rel=1e-5)


def test_texts_of_other_queries_are_wrong_answers_too():
    table = np.random.default_rng(0).normal(size=(6, 6)).astype("float32")
    table[3:] = table[3]  # rows of a query are alike
    table[:3] = table[0]
    logs = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    expected = -(logs[0, 0] + (logs[3, 3] + logs[4, 4]) / 2) / 2
    assert float(LOSSES["listwise"](TARGETS, table)) == pytest.approx(expected, rel=1e-5)
    wrong = {0: [1, 2, 3, 4, 5], 3: [0, 1, 2, 5], 4: [0, 1, 2, 5]}
    loss = {
        right: np.log1p(np.exp(table[right, x] - table[right, right])) for right, x in wrong.items()
    }
    expected = (loss[0].mean() + np.concatenate([loss[3], loss[4]]).mean()) / 2
    assert float(LOSSES["pairwise"](TARGETS, table)) == pytest.approx(expected, rel=1e-5)
