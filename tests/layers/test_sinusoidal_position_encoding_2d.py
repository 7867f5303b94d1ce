"""SinusoidalPositionEncoding2D."""

import numpy as np
import pytest

import keras_attention as ka
from tests.layers.position_layer import GridPositionLayerContract


class TestContract(GridPositionLayerContract):
    make = ka.SinusoidalPositionEncoding2D


@pytest.mark.parametrize("size", [4, 7, 1])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_section_a_4_of_carion_2020(size, base):
    inputs = np.random.default_rng(0).normal(size=(2, 3, 5, size))
    of_column = size // 2
    halves = [(0, size - of_column), (size - of_column, of_column)]  # where they begin, how many
    expected = inputs.copy()
    for place in np.ndindex(3, 5):
        for coordinate, (begin, count) in zip(place, halves, strict=True):
            for feature in range(count):
                wave = np.cos if feature % 2 else np.sin
                angle = coordinate / base ** (2 * (feature // 2) / count)
                expected[:, place[0], place[1], begin + feature] += wave(angle)
    got = ka.SinusoidalPositionEncoding2D(base)(inputs)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_rejects_bad_base():
    with pytest.raises(ValueError, match="`base` must be a number above 0.* base=0"):
        ka.SinusoidalPositionEncoding2D(base=0)
