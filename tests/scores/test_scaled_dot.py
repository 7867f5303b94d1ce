"""ScaledDotScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.scores.oracle import KEY, QUERY, WIDE, check


def test_rejects_keys_of_another_size():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        ka.ScaledDotScore()(QUERY, WIDE)


def test_equation_1_of_vaswani_2017():
    check(ka.ScaledDotScore(), KEY, lambda q, k: q @ k / np.sqrt(4))
