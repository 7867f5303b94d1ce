"""WindowAttentionPooling."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


def _case(window, **kwargs):
    return Case(
        lambda **kw: ka.WindowAttentionPooling(window, **kwargs, **kw),
        tensors={"value": "BSD", "query": "BTD"},
        weights="BS",
        masks={"value_mask": "value", "query_mask": "query"},
        sums_to_one=False,
    )


class TestContract(LayerContract):
    cases = {
        "default": _case(3),
        "even, additive": _case(2, score="additive"),
        "valid, softmax": dataclasses.replace(
            _case(4, padding="valid", score="scaled_dot", normalizer="softmax"), fixed_steps="S"
        ),
    }


def test_section_4_2_of_yin_2016():
    rng = np.random.default_rng(0)
    f0, f1, w = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 4)), 2
    layer = ka.WindowAttentionPooling(w, padding="valid")
    pooled, weights = to_numpy(layer(f0, f1, return_attention_scores=True))
    for b in range(2):
        a = np.zeros(5)
        for j in range(5):
            for k in range(3):
                a[j] += 1 / (1 + np.sqrt(((f0[b, j] - f1[b, k]) ** 2).sum()))
        np.testing.assert_allclose(weights[b], a, rtol=1e-5)
        assert pooled[b].shape == (4, 4)
        for j in range(5 - w + 1):
            window = sum(a[k] * f0[b, k] for k in range(j, j + w))
            np.testing.assert_allclose(pooled[b, j], window, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_same_padding_is_that_of_a_convolution(window):
    rng = np.random.default_rng(0)
    value, query = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 4))
    layer = ka.WindowAttentionPooling(window)
    pooled, weights = to_numpy(layer(value, query, return_attention_scores=True))
    summing = keras.layers.Conv1D(4, window, padding="same", use_bias=False)
    summing.build((2, 5, 4))
    summing.set_weights([np.stack([np.eye(4)] * window)])
    expected = to_numpy(summing(weights[..., None] * value))
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-5)


def test_softmax_gives_each_step_of_the_other_text_one_unit():
    rng = np.random.default_rng(0)
    value, query = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 4))
    layer = ka.WindowAttentionPooling(2, normalizer="softmax")
    _, weights = to_numpy(layer(value, query, return_attention_scores=True))
    np.testing.assert_allclose(weights.sum(-1), 3, rtol=1e-5)
    assert weights.std() > 0.01


@pytest.mark.parametrize(
    "padding, expected",
    [("same", [True, True, False, False, False]), ("valid", [True, True, False])],
)
def test_the_mask_of_the_windows(padding, expected):
    embedded = keras.layers.Embedding(4, 4, mask_zero=True)(np.array([[1, 2, 0, 0, 0]]))
    windows = ka.WindowAttentionPooling(3, padding=padding)(embedded, embedded)
    np.testing.assert_array_equal(windows._keras_mask, [expected])


def test_rejects_bad_window():
    with pytest.raises(ValueError, match="`window` must be a positive integer.*window=0"):
        ka.WindowAttentionPooling(0)


def test_rejects_bad_padding():
    with pytest.raises(ValueError, match='`padding` must be "same" or "valid".*\'causal\''):
        ka.WindowAttentionPooling(2, padding="causal")


def test_rejects_a_text_shorter_than_the_window():
    layer = ka.WindowAttentionPooling(6, padding="valid")
    with pytest.raises(ValueError, match=r"at least window=6 steps.*value_shape=\(2, 5, 4\)"):
        layer(np.ones((2, 5, 4)), np.ones((2, 3, 4)))
