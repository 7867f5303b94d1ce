"""PositionEmbedding."""

import functools

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.layers.position_layer import SequencePositionLayerContract


class TestContract(SequencePositionLayerContract):
    make = functools.partial(ka.PositionEmbedding, 7)


def test_section_3_1_of_gehring_2017():
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    layer = ka.PositionEmbedding(max_length=7)
    got = layer(x, start_index=2)
    (table,) = layer.get_weights()
    assert table.shape == (7, 4)
    np.testing.assert_allclose(got, x + table[2:], rtol=1e-5, atol=1e-6)
    first = to_numpy(layer(x, start_index=-3))  # steps padded at the left
    np.testing.assert_allclose(first[:, 3:], x[:, 3:] + table[:2], rtol=1e-5, atol=1e-6)


def test_rejects_lengths_above_max_length():
    layer = ka.PositionEmbedding(max_length=4)
    with pytest.raises(ValueError, match=r"inputs.shape=\(2, 5, 3\), start_index=0, max_length=4"):
        layer(np.ones((2, 5, 3)))
    layer(np.ones((2, 4, 3)))
    with pytest.raises(ValueError, match=r"inputs.shape=\(2, 1, 3\), start_index=4, max_length=4"):
        layer(np.ones((2, 1, 3)), start_index=4)


def test_rejects_bad_max_length():
    with pytest.raises(ValueError, match="`max_length` must be a positive.* max_length=0"):
        ka.PositionEmbedding(0)
