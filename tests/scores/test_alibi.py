"""ALiBiScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.scores.oracle import KEY, QUERY

RNG = np.random.default_rng(1)


def test_section_3_of_press_2022():
    heads, steps = 8, 5
    x = RNG.normal(size=(2, heads, steps, 4))
    got = to_numpy(ka.ALiBiScore()(x, x))
    assert got.shape == (1, heads, steps, steps)
    for head in range(heads):
        m = 1 / 2 ** (head + 1)  # "for 8 heads: 1/2, 1/4, ... 1/256"
        for i in range(1, steps + 1):
            bias = m * np.arange(-(i - 1), 1)  # m [-(i - 1), ..., -2, -1, 0]
            np.testing.assert_array_equal(got[0, head, i - 1, :i], bias)


def test_queries_are_aligned_at_the_end():
    score = ka.ALiBiScore(slopes=[1.0])
    got = to_numpy(score(QUERY, KEY))  # T = 3, S = 5
    np.testing.assert_array_equal(got[0, 0], [-2, -1, 0, -1, -2])
    np.testing.assert_array_equal(got[0, 2], [-4, -3, -2, -1, 0])
    np.testing.assert_array_equal(to_numpy(score(QUERY, KEY, start=0))[0, 0], -np.arange(5))


def test_half_precision_keeps_the_order_of_long_distances():
    x = np.ones((1, 3000, 1), "float16")
    got = to_numpy(ka.ALiBiScore(slopes=[0.5], dtype="float16")(x, x))
    assert got.dtype == "float16" and np.isfinite(got).all()
    np.testing.assert_array_equal(got[0, 0], (-0.5 * np.arange(3000)).astype("float16"))


def test_no_weights():
    score = ka.ALiBiScore()
    score(QUERY, KEY)
    assert not score.weights


@pytest.mark.parametrize("slopes", [[0.5, 0.0], [], ["steep"]])
def test_rejects_bad_slopes(slopes):
    with pytest.raises(ValueError, match="`slopes` must be positive numbers. Received: slopes="):
        ka.ALiBiScore(slopes=slopes)


def test_rejects_slopes_for_another_number_of_heads():
    match = r"one number per head.*slopes=\[0.5, 0.25\], query_shape=\(2, 3, 5, 4\)"
    with pytest.raises(ValueError, match=match):
        ka.ALiBiScore(slopes=[0.5, 0.25])(np.ones((2, 3, 5, 4)), np.ones((2, 3, 5, 4)))
