"""RotaryPositionEmbedding."""

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.layers.position_layer import SequencePositionLayerContract


class TestContract(SequencePositionLayerContract):
    make = ka.RotaryPositionEmbedding


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 3, 5, 4)])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_equation_34_of_su_2021(shape, base):
    x = np.random.default_rng(0).normal(size=shape)
    d, expected = shape[-1], np.zeros(shape)
    theta = [base ** (-2 * (i - 1) / d) for i in range(1, d // 2 + 1)]  # eq. 15
    for m in range(5):
        for i in range(d // 2):
            cos, sin = np.cos((m + 3) * theta[i]), np.sin((m + 3) * theta[i])
            first, second = x[..., m, 2 * i], x[..., m, 2 * i + 1]
            expected[..., m, 2 * i] = first * cos - second * sin
            expected[..., m, 2 * i + 1] = second * cos + first * sin
    got = ka.RotaryPositionEmbedding(base)(x, start_index=3)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_scores_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = (np.repeat(rng.normal(size=(1, 1, 6)), 9, 1) for _ in range(2))
    layer, scores = ka.RotaryPositionEmbedding(), {}
    for start in (0, 500):
        turned = [to_numpy(layer(x, start_index=start))[0] for x in (q, k)]
        scores[start] = turned[0] @ turned[1].T
        for distance in range(-8, 9):
            np.testing.assert_allclose(np.ptp(np.diagonal(scores[start], distance)), 0, atol=1e-3)
        assert np.ptp(scores[start]) > 0.1
    np.testing.assert_allclose(scores[500], scores[0], atol=1e-3)


def test_a_start_index_of_each_row_turns_all_heads_alike():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    layer = ka.RotaryPositionEmbedding()
    got = to_numpy(layer(x, start_index=np.array([1, 4])))
    for row, start in enumerate((1, 4)):
        expected = to_numpy(layer(x, start_index=start))[row]
        np.testing.assert_allclose(got[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 4, 3, 2)])
def test_rejects_odd_sizes_and_other_ranks(shape):
    with pytest.raises(ValueError, match="known, even number of features. Received: inputs_shape="):
        ka.RotaryPositionEmbedding()(np.ones(shape))


def test_rejects_bad_base():
    with pytest.raises(ValueError, match="`base` must be a number above 0.* base=-1"):
        ka.RotaryPositionEmbedding(base=-1)
