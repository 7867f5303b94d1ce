"""functional.attention: the three steps against NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_attention.functional import masks
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.functional.normalize import softmax
from tests.backend import to_numpy

RNG = np.random.default_rng(0)
QUERY, KEY, VALUE = (
    RNG.normal(size=shape).astype("float32") for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 6))
)
MASK = RNG.random((2, 1, 5)) > 0.3


def softmax_steps(is_softmax=True, dropout=None):
    return Steps(
        score=lambda query, key, start: ops.matmul(query, ops.swapaxes(key, -2, -1)),
        normalize=lambda scores, mask, seed: softmax(scores, mask),
        dropout=dropout,
        is_softmax=is_softmax,
    )


def by_numpy(seen):
    weights = np.exp(QUERY @ KEY.swapaxes(1, 2)) * seen
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-9)
    return weights @ VALUE, weights


CASES = {
    "all": (None, None, None, np.ones((3, 5), bool)),
    "a mask": (MASK, None, None, MASK),
    "a rule": (None, masks.rule(True), None, np.tri(3, 5, 2, dtype=bool)),
    "a rule from a start": (None, masks.rule(True, 2), -1, None),
    "a mask of nothing": (np.zeros((2, 1, 5), bool), None, None, np.zeros((1, 1, 5), bool)),
}


@pytest.mark.parametrize("is_softmax", [True, False])
@pytest.mark.parametrize(("mask", "rule", "start", "seen"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("query_mask", [None, np.array([[True], [False], [True]])])
def test_scores_normalizes_and_averages(is_softmax, mask, rule, start, seen, query_mask):
    """With the weights and without, which takes another way where the normalizer is the softmax."""
    if start is not None:  # a query before all keys, then one that sees the first, and so on
        distance = np.arange(5) - (np.arange(3) + start)[:, None]
        seen = (distance <= 0) & (distance > -2)
    seen = seen if query_mask is None else seen & query_mask
    attention = Attention(
        softmax_steps(is_softmax),
        ops.convert_to_tensor(QUERY),
        Keys(ops.convert_to_tensor(KEY), ops.convert_to_tensor(VALUE), mask, rule),
        start=start,
        query_mask=query_mask,
    )
    context, weights = attention.with_weights()
    expected, expected_weights = by_numpy(seen)
    np.testing.assert_allclose(to_numpy(weights), expected_weights, atol=1e-6)
    np.testing.assert_allclose(to_numpy(context), expected, atol=1e-6)
    np.testing.assert_allclose(to_numpy(attention.context()), expected, atol=1e-6)


def test_rows_that_all_see_may_be_averaged_by_another_function():
    given = []

    def average_rows(scores, value, mask):
        given.append((tuple(scores.shape), mask))
        return ops.zeros((2, 3, 6))

    keys = Keys(ops.convert_to_tensor(KEY), ops.convert_to_tensor(VALUE))
    attention = Attention(softmax_steps(), ops.convert_to_tensor(QUERY), keys)
    assert not to_numpy(attention.context(average_rows)).any()
    assert given == [((2, 3, 5), None)]


def test_a_score_gets_the_position_of_the_first_query_counted_from_the_first_key():
    starts = []

    def score(query, key, start):
        starts.append(start)
        return ops.zeros((2, 3, 5))

    steps = Steps(score, lambda scores, mask, seed: softmax(scores, mask))
    Attention(steps, QUERY, Keys(KEY, VALUE)).context()
    Attention(steps, QUERY, Keys(KEY, VALUE), start=7).context()
    Attention(steps, QUERY, Keys(KEY, VALUE, start=3), start=7).context()
    assert starts == [2, 7, 4]


def test_scores_that_a_batch_shares_become_weights_of_each_example():
    steps = Steps(
        score=lambda query, key, start: ops.zeros((1, 3, 5)),
        normalize=lambda scores, mask, seed: softmax(scores, mask),
    )
    context, weights = Attention(steps, QUERY, Keys(KEY, VALUE)).with_weights()
    assert tuple(context.shape) == (2, 3, 6) and tuple(weights.shape) == (2, 3, 5)
