"""SinusoidalPositionEncoding."""

import numpy as np
import pytest

import keras_attention as ka
from tests.layers.position_layer import SequencePositionLayerContract


class TestContract(SequencePositionLayerContract):
    make = ka.SinusoidalPositionEncoding


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_section_3_5_of_vaswani_2017(size, base):
    x = np.random.default_rng(0).normal(size=(2, 5, size))
    expected = x.copy()
    for pos in range(5):
        for feature in range(size):
            i = feature // 2
            wave = np.cos if feature % 2 else np.sin
            expected[:, pos, feature] += wave((pos + 3) / base ** (2 * i / size))
    got = ka.SinusoidalPositionEncoding(base)(x, start_index=3)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_rejects_bad_base():
    with pytest.raises(ValueError, match="`base` must be a number above 0.* base=0"):
        ka.SinusoidalPositionEncoding(base=0)
