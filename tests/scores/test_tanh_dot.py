"""TanhDotScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.scores.oracle import WIDE, check, random_weights


def test_rejects_bad_units():
    with pytest.raises(ValueError, match="`units` must be a positive integer or `None`.*units=0"):
        ka.TanhDotScore(units=0)


def test_equation_5_of_yang_2016():
    score = ka.TanhDotScore()
    w, b = random_weights(score, WIDE)
    check(score, WIDE, lambda q, k: q @ np.tanh(w.T @ k + b))
