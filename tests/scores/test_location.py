"""LocationScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.scores.oracle import KEY, QUERY, WIDE, random_weights


def test_equation_8_of_luong_2015_location():
    score = ka.LocationScore(max_length=7)
    (w_a,) = random_weights(score, WIDE)
    got = to_numpy(score(QUERY, WIDE))
    for b in range(2):
        for t in range(3):
            np.testing.assert_allclose(got[b, t], (w_a.T @ QUERY[b, t])[:5], rtol=1e-4, atol=1e-5)


def test_heads_share_it():
    score = ka.LocationScore(5)
    expected = to_numpy(score(QUERY, KEY))
    got = to_numpy(score(np.stack([QUERY, QUERY], 1), np.stack([KEY, KEY], 1)))
    np.testing.assert_allclose(got, np.stack([expected, expected], 1), rtol=1e-5)


def test_rejects_more_steps_than_max_length():
    with pytest.raises(
        ValueError, match=r"max_length=4 steps. Received: 5 steps in key_shape=\(2,"
    ):
        ka.LocationScore(4)(QUERY, KEY)


def test_rejects_bad_max_length():
    with pytest.raises(ValueError, match="`max_length` must be a positive integer.*max_length=1.5"):
        ka.LocationScore(1.5)
