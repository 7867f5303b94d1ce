"""PositionEmbedding2D."""

import functools

import numpy as np
import pytest

import keras_attention as ka
from tests.layers.position_layer import GridPositionLayerContract


class TestContract(GridPositionLayerContract):
    make = functools.partial(ka.PositionEmbedding2D, 4, 6)


def test_section_d_4_of_dosovitskiy_2021():
    inputs = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    layer = ka.PositionEmbedding2D(max_height=4, max_width=6)
    got = layer(inputs)
    rows, columns = layer.get_weights()
    assert rows.shape == (4, 4) and columns.shape == (6, 3)
    assert not np.array_equal(rows[:, 0], columns[:4, 0])
    expected = inputs.copy()
    for y, x in np.ndindex(3, 5):
        expected[:, y, x] += np.concatenate([rows[y], columns[x]])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_each_table_is_drawn_by_itself():
    layer = ka.PositionEmbedding2D(4, 4)
    layer(np.ones((1, 4, 4, 8)))
    rows, columns = layer.get_weights()
    assert not np.allclose(rows, columns)


def test_rejects_a_grid_that_is_too_large():
    layer = ka.PositionEmbedding2D(max_height=4, max_width=6)
    layer(np.ones((1, 4, 6, 2)))
    for shape in ((1, 5, 6, 2), (1, 4, 7, 2)):
        with pytest.raises(ValueError, match="no more than `max_height` rows .* max_width=6"):
            layer(np.ones(shape))


def test_rejects_a_single_channel():
    with pytest.raises(ValueError, match=r"2 channels or more.* inputs_shape=\(1, 2, 2, 1\)"):
        ka.PositionEmbedding2D(2, 2)(np.ones((1, 2, 2, 1)))


@pytest.mark.parametrize("name", ["max_height", "max_width"])
def test_rejects_bad_sizes(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive.* {name}=0"):
        ka.PositionEmbedding2D(**{"max_height": 2, "max_width": 2, name: 0})
