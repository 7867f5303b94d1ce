"""DotScore."""

import pytest

import keras_attention as ka
from tests.scores.oracle import KEY, QUERY, WIDE, check


def test_rejects_keys_of_another_size():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        ka.DotScore()(QUERY, WIDE)


def test_section_3_1_of_luong_2015_dot():
    check(ka.DotScore(), KEY, lambda q, k: q @ k)
