"""AdditiveScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.scores.oracle import KEY, WIDE, check, random_weights


def test_rejects_bad_units():
    with pytest.raises(ValueError, match="`units` must be a positive integer or `None`.*units=0"):
        ka.AdditiveScore(units=0)


def test_appendix_a_1_2_of_bahdanau_2015():
    score = ka.AdditiveScore(units=7)
    w_q, w_k, v = random_weights(score, WIDE)
    check(score, WIDE, lambda q, k: v[:, 0] @ np.tanh(w_q.T @ q + w_k.T @ k))


def test_additive_with_a_bias():
    score = ka.AdditiveScore(units=7, use_bias=True)
    w_q, w_k, b, v = random_weights(score)
    check(score, KEY, lambda q, k: v[:, 0] @ np.tanh(w_q.T @ q + w_k.T @ k + b))
