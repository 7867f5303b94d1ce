"""SpatialAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "default": Case(
            ka.SpatialAttention,
            tensors={"inputs": "BYXE"},
            weights="BYX",
            masks={"mask": "inputs"},
            is_gate=True,
        )
    }


def test_equation_3_of_woo_2018():
    f = np.random.default_rng(0).normal(size=(2, 6, 5, 4))
    layer = ka.SpatialAttention(kernel_size=3)
    refined, m_s = layer(f, return_attention_scores=True)
    (kernel,) = (w.astype("float64") for w in layer.get_weights())
    assert kernel.shape == (3, 3, 2, 1)
    for b, y, x in np.ndindex(2, 6, 5):
        total = 0.0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if 0 <= y + dy < 6 and 0 <= x + dx < 5:
                    place = f[b, y + dy, x + dx]
                    pooled = np.array([place.mean(), place.max()])
                    total += pooled @ kernel[dy + 1, dx + 1, :, 0]
        expected = 1 / (1 + np.exp(-total))
        np.testing.assert_allclose(m_s[b, y, x], expected, rtol=1e-5)
        np.testing.assert_allclose(refined[b, y, x], f[b, y, x] * expected, rtol=1e-4, atol=1e-6)


def test_a_padded_image_gives_what_the_image_alone_gives():
    image = np.random.default_rng(0).normal(size=(1, 3, 5, 4)).astype("float32")
    layer = ka.SpatialAttention(3)
    alone, weights = to_numpy(layer(image, return_attention_scores=True))
    padded = np.pad(image, ((0, 0), (0, 4), (0, 2), (0, 0)), constant_values=np.nan)
    mask = np.zeros((1, 7, 7), "bool")
    mask[:, :3, :5] = True
    output, same = to_numpy(layer(padded, mask=mask, return_attention_scores=True))
    np.testing.assert_allclose(same[:, :3, :5], weights, rtol=1e-5)
    np.testing.assert_allclose(output[:, :3, :5], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(output[~mask], 0)
    np.testing.assert_array_equal(same[~mask], 0)


def test_the_default_kernel_is_the_paper_s():
    layer = ka.SpatialAttention()
    layer(np.ones((1, 2, 2, 3)))
    assert [w.shape for w in layer.weights] == [(7, 7, 2, 1)]


def test_channels_first_as_keras_default_changes_nothing():
    x = np.random.default_rng(0).normal(size=(1, 6, 5, 4)).astype("float32")
    layer = ka.SpatialAttention(3)
    expected = to_numpy(layer(x))
    keras.config.set_image_data_format("channels_first")
    try:
        other = ka.SpatialAttention(3)
        other.build(x.shape)
        other.set_weights(layer.get_weights())
        np.testing.assert_allclose(other(x), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_rejects_bad_kernel_size():
    with pytest.raises(ValueError, match="`kernel_size` must be.* kernel_size=0"):
        ka.SpatialAttention(kernel_size=0)


def test_rejects_a_mask_of_the_wrong_rank():
    with pytest.raises(ValueError, match=r"mask.shape=\(2, 3\), inputs.shape=\(2, 3, 5, 4\)"):
        ka.SpatialAttention()(np.ones((2, 3, 5, 4)), mask=np.ones((2, 3), "bool"))
