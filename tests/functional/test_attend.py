"""functional.attend."""

import numpy as np

from keras_attention.functional.attend import attend
from keras_attention.functional.normalize import softmax


def test_scores_normalizes_and_averages():
    rng = np.random.default_rng(0)
    shapes = (2, 3, 4), (2, 5, 4), (2, 5, 6)
    query, key, value = (rng.normal(size=shape).astype("float32") for shape in shapes)
    mask = rng.random((2, 1, 5)) > 0.3
    context, weights = attend(
        query,
        value,
        key,
        score=lambda q, k, start: q @ k.transpose(0, 2, 1),
        normalizer=lambda scores, mask, seed: softmax(scores, mask),
        mask=mask,
    )
    expected = np.exp(query @ key.transpose(0, 2, 1)) * mask
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(context, expected @ value, atol=1e-6)


def test_returned_weights_are_those_before_dropout():
    value = np.ones((1, 5, 1), "float32")
    context, weights = attend(
        value,
        value,
        value,
        score=lambda q, k, start: q @ k.transpose(0, 2, 1),
        normalizer=lambda scores, mask, seed: softmax(scores, mask),
        dropout=lambda w, seed: 0 * w,
    )
    np.testing.assert_allclose(weights, np.full((1, 5, 5), 0.2), rtol=1e-6)
    np.testing.assert_array_equal(context, np.zeros((1, 5, 1)))


def test_scores_that_a_batch_shares_become_weights_of_each_example():
    value, scores = np.ones((2, 5, 4), "float32"), np.zeros((1, 3, 5), "float32")
    context, weights = attend(
        value[:, :3],
        value,
        value,
        score=lambda q, k, start: scores,
        normalizer=lambda scores, mask, seed: softmax(scores, mask),
    )
    assert tuple(context.shape) == (2, 3, 4) and tuple(weights.shape) == (2, 3, 5)
