"""CosineScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.scores.oracle import KEY, QUERY, WIDE, check


def test_rejects_keys_of_another_size():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        ka.CosineScore()(QUERY, WIDE)


def test_equations_5_and_6_of_graves_2014():
    score = ka.CosineScore(scale=3.0)
    beta = 3.0
    check(score, KEY, lambda q, k: beta * q @ k / np.linalg.norm(q) / np.linalg.norm(k))
    score.strength.assign(5.0)
    beta = 5.0
    check(score, KEY, lambda q, k: beta * q @ k / np.linalg.norm(q) / np.linalg.norm(k))
    assert not ka.CosineScore(use_learned_scale=False).trainable_weights


def test_cosine_of_a_zero_vector_is_zero():
    np.testing.assert_array_equal(ka.CosineScore()(QUERY, 0 * KEY), np.zeros((2, 3, 5)))


def test_rejects_bad_scale():
    with pytest.raises(ValueError, match="`scale` must be.*scale=-1"):
        ka.CosineScore(scale=-1)
