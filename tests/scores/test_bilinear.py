"""BilinearScore."""

import keras_attention as ka
from tests.scores.oracle import WIDE, check, random_weights


def test_section_3_1_of_luong_2015_general():
    score = ka.BilinearScore()
    (w,) = random_weights(score, WIDE)
    assert w.shape == (4, 6)
    check(score, WIDE, lambda q, k: q @ w @ k)
