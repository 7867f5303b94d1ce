"""ChannelAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "default": Case(
            lambda **kw: ka.ChannelAttention(2, **kw),
            tensors={"inputs": "BYXE"},
            weights="BE",
            masks={"mask": "inputs"},
            is_gate=True,
        )
    }


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_equation_2_of_woo_2018():
    f = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    layer = ka.ChannelAttention(reduction_ratio=2)
    refined, m_c = layer(f, return_attention_scores=True)
    w_0, w_1 = (w.astype("float64").T for w in layer.get_weights())
    assert w_0.shape == (2, 4) and w_1.shape == (4, 2)
    for b in range(2):
        f_avg, f_max = np.zeros(4), np.full(4, -np.inf)
        for y in range(3):
            for x in range(5):
                f_avg += f[b, y, x] / 15
                f_max = np.maximum(f_max, f[b, y, x])
        mlp = [w_1 @ np.maximum(w_0 @ pooled, 0) for pooled in (f_avg, f_max)]
        expected = _sigmoid(mlp[0] + mlp[1])
        np.testing.assert_allclose(m_c[b], expected, rtol=1e-5)
        np.testing.assert_allclose(refined[b], f[b] * expected, rtol=1e-4, atol=1e-6)


def test_a_padded_image_gives_what_the_image_alone_gives():
    image = np.random.default_rng(0).normal(size=(1, 3, 5, 4)).astype("float32")
    layer = ka.ChannelAttention(2)
    alone, weights = to_numpy(layer(image, return_attention_scores=True))
    padded = np.pad(image, ((0, 0), (0, 4), (0, 2), (0, 0)), constant_values=np.nan)
    mask = np.zeros((1, 7, 7), "bool")
    mask[:, :3, :5] = True
    output, same = to_numpy(layer(padded, mask=mask, return_attention_scores=True))
    np.testing.assert_allclose(same, weights, rtol=1e-5)
    np.testing.assert_allclose(output[:, :3, :5], alone, rtol=1e-5)
    np.testing.assert_array_equal(output[~mask], 0)


def test_few_channels_keep_one_hidden_unit():
    layer = ka.ChannelAttention()
    layer(np.ones((1, 2, 2, 3)))
    assert [w.shape for w in layer.weights] == [(3, 1), (1, 3)]


def test_a_large_image_does_not_overflow_float16():
    keras.config.set_dtype_policy("mixed_float16")
    image = np.full((1, 40, 40, 4), 100.0, "float16")  # its sum is 160,000
    layer = ka.ChannelAttention(2)
    _, weights = to_numpy(layer(image, return_attention_scores=True))
    _, same = to_numpy(layer(image[:, :1, :1], return_attention_scores=True))
    np.testing.assert_allclose(weights, same, rtol=1e-2)


def test_rejects_bad_reduction_ratio():
    with pytest.raises(ValueError, match="`reduction_ratio` must be.* reduction_ratio=0"):
        ka.ChannelAttention(reduction_ratio=0)


def test_rejects_unknown_channels():
    with pytest.raises(ValueError, match=r"known number of channels.*\(None, 5, 5, None\)"):
        ka.ChannelAttention()(keras.Input((5, 5, None)))


def test_rejects_a_mask_of_the_wrong_rank():
    with pytest.raises(ValueError, match=r"mask.shape=\(2, 15\), inputs.shape=\(2, 3, 5, 4\)"):
        ka.ChannelAttention()(np.ones((2, 3, 5, 4)), mask=np.ones((2, 15), "bool"))
