"""functional.attend, as a whole: `tests/memory` has all other ways."""

import numpy as np

from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys
from tests.backend import to_numpy
from tests.functional.test_attention import softmax_steps

RNG = np.random.default_rng(0)


def test_weights_are_returned_where_they_are_wanted_alone():
    query, key, value = (
        RNG.normal(size=shape).astype("float32") for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 6))
    )
    attention = Attention(softmax_steps(), query, Keys(key, value))
    context, weights = attend(attention)
    np.testing.assert_allclose(to_numpy(weights).sum(-1), np.ones((2, 3)), rtol=1e-6)
    alone, nothing = attend(attention, return_weights=False)
    assert nothing is None
    np.testing.assert_allclose(to_numpy(alone), to_numpy(context), atol=1e-6)


def test_returned_weights_are_those_before_dropout():
    value = np.ones((1, 5, 1), "float32")
    steps = softmax_steps(dropout=lambda weights, seed: 0 * weights)
    context, weights = attend(Attention(steps, value, Keys(value, value)))
    np.testing.assert_allclose(to_numpy(weights), np.full((1, 5, 5), 0.2), rtol=1e-6)
    np.testing.assert_array_equal(to_numpy(context), np.zeros((1, 5, 1)))
