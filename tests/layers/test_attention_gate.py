"""AttentionGate."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "default": Case(
            lambda **kwargs: ka.AttentionGate(3, **kwargs),
            tensors={"inputs": "BYXE", "gating": "BTSD"},  # 9 by 10 positions, and 3 by 5
            weights="BYX",
            masks={"inputs_mask": "inputs", "gating_mask": "gating"},
            is_gate=True,
        )
    }


def built(units, *tensors):
    """A layer with random weights, and these as float64."""
    layer, rng = ka.AttentionGate(units), np.random.default_rng(1)
    layer.build(*(x.shape for x in tensors))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, [to_numpy(weight.value).astype("float64") for weight in layer.weights]


def interpolated(grid, height, width):
    """Bilinear resampling of `(H, W, C)`, position by position: centres lie at half steps."""
    rows, columns, channels = grid.shape
    result = np.zeros((height, width, channels))
    for i, j in np.ndindex(height, width):
        y = np.clip((i + 0.5) * rows / height - 0.5, 0, rows - 1)
        x = np.clip((j + 0.5) * columns / width - 0.5, 0, columns - 1)
        for u, v in np.ndindex(rows, columns):
            nearness = max(0, 1 - abs(y - u)) * max(0, 1 - abs(x - v))
            result[i, j] += nearness * grid[u, v]
    return result


@pytest.mark.parametrize("size", [(8, 6), (4, 3), (7, 5)])  # twice, the same, and neither
def test_equations_1_and_2_of_oktay_2018(size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 4)).astype("float32")
    g = rng.normal(size=(2, 4, 3, 5)).astype("float32")
    layer, (w_x, w_g, b_g, psi, b_psi) = built(6, x, g)
    assert w_x.shape == (4, 6) and w_g.shape == (5, 6) and psi.shape == (6, 1)
    x_hat, alpha = to_numpy(layer(x, g, return_attention_scores=True))
    for row in range(2):
        below = interpolated(x[row].astype("float64"), 4, 3)
        coarse = np.zeros((4, 3, 1))
        for i, j in np.ndindex(4, 3):
            hidden = np.maximum(0, w_x.T @ below[i, j] + w_g.T @ g[row, i, j] + b_g)
            q_att = psi.T @ hidden + b_psi
            coarse[i, j] = 1 / (1 + np.exp(-q_att))
        expected = interpolated(coarse, *size)[..., 0]
        np.testing.assert_allclose(alpha[row], expected, rtol=1e-4)
        wanted = x[row] * expected[..., None]
        np.testing.assert_allclose(x_hat[row], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_a_padded_image_gives_what_the_image_alone_gives(ratio):
    rng = np.random.default_rng(0)
    g = rng.normal(size=(1, 2, 3, 5)).astype("float32")
    x = rng.normal(size=(1, 2 * ratio, 3 * ratio, 4)).astype("float32")
    layer, _ = built(6, x, g)
    alone, weights = to_numpy(layer(x, g, return_attention_scores=True))

    def padded(grid, rows, columns):
        return np.pad(grid, ((0, 0), (0, rows), (0, columns), (0, 0)), constant_values=np.nan)

    more, coarse = padded(x, 2 * ratio, ratio), padded(g, 2, 1)
    for given in ("inputs_mask gating_mask".split(), ["inputs_mask"]):
        # The mask of the inputs says of the coarse grid too what is padding.
        masks = {"inputs_mask": ~np.isnan(more[..., 0]), "gating_mask": ~np.isnan(coarse[..., 0])}
        masks = {name: masks[name] for name in given}
        below = coarse if "gating_mask" in masks else np.nan_to_num(coarse, nan=7.0)
        output, same = to_numpy(layer(more, below, **masks, return_attention_scores=True))
        is_image = masks["inputs_mask"]
        np.testing.assert_allclose(same[is_image], weights.ravel(), rtol=1e-5)
        np.testing.assert_allclose(output[is_image], alone.reshape(-1, 4), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(output[~is_image], 0)


def test_what_no_gating_position_is_near_gets_no_weight():
    x, g = np.ones((1, 8, 2, 3), "float32"), np.ones((1, 4, 1, 2), "float32")
    layer, _ = built(2, x, g)
    mask = np.array([True, True, False, False])[None, :, None]
    _, weights = layer(x, g, gating_mask=mask, return_attention_scores=True)
    weights = to_numpy(weights)[0, :, 0]
    # Row 4 lies between the second gating row and the third; row 5 between the last two.
    assert (weights[:5] > 0).all() and (weights[5:] == 0).all()
    np.testing.assert_allclose(weights[:5], weights[0], rtol=1e-6)


def test_it_computes_in_float32_where_the_inputs_are_in_half_precision():
    layer = ka.AttentionGate(2, dtype="mixed_float16")
    layer(np.ones((1, 4, 4, 3)), np.ones((1, 2, 2, 3)))
    assert layer.score_dense.compute_dtype == "float32"
    assert layer.inputs_dense.compute_dtype == "float16"


def test_channels_first_as_keras_default_changes_nothing():
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(1, 6, 5, 4)), rng.normal(size=(1, 3, 2, 2))
    layer, weights = built(3, x, g)
    expected = to_numpy(layer(x, g))
    keras.config.set_image_data_format("channels_first")
    try:
        other = ka.AttentionGate(3)
        other.build(x.shape, g.shape)
        other.set_weights(weights)
        np.testing.assert_allclose(to_numpy(other(x, g)), expected, rtol=1e-6)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_rejects_bad_units():
    with pytest.raises(ValueError, match="`units` must be.* units=0"):
        ka.AttentionGate(0)


def test_rejects_a_gating_signal_that_is_no_grid():
    with pytest.raises(ValueError, match=r"`gating` must have .*gating_shape=\(2, 3, 5\)"):
        ka.AttentionGate(2)(np.ones((2, 6, 5, 4)), np.ones((2, 3, 5)))
