"""AttentionPooling."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "learned query": Case(
            ka.AttentionPooling,
            tensors={"value": "BSE"},
            weights="BS",
            masks={"mask": "value"},
        ),
        "several learned queries": Case(
            lambda **kw: ka.AttentionPooling(3, normalizer="sparsemax", penalty=0.1, **kw),
            tensors={"value": "BSE"},
            weights="BTS",
            masks={"mask": "value"},
            attention_mask="BTS",
        ),
        "given query": Case(
            lambda **kw: ka.AttentionPooling(score="additive", **kw),
            tensors={"value": "BSE", "query": "BD", "key": "BSF"},
            weights="BS",
            masks={"value_mask": "value", "key_mask": "key"},
        ),
        "several given queries": Case(
            lambda **kw: ka.AttentionPooling(score="bilinear", **kw),
            tensors={"value": "BSE", "query": "BTD"},
            weights="BTS",
            masks={"value_mask": "value", "query_mask": "query"},
            attention_mask="BTS",
        ),
    }


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_equations_5_to_7_of_yang_2016():
    h = np.random.default_rng(0).normal(size=(2, 5, 4))
    layer = ka.AttentionPooling(score=ka.TanhDotScore(units=3))
    s, alpha = layer(h, return_attention_scores=True)
    u_w, w, b = (x.astype("float64") for x in layer.get_weights())
    u = np.tanh(h @ w + b)  # eq. 5
    expected = _softmax(u @ u_w[0])  # eq. 6
    np.testing.assert_allclose(alpha, expected, rtol=1e-5)
    np.testing.assert_allclose(s, np.einsum("bs,bsd->bd", expected, h), rtol=1e-4, atol=1e-5)


def test_equations_6_to_8_of_lin_2017():
    h = np.random.default_rng(0).normal(size=(2, 5, 4))
    layer = ka.AttentionPooling(3, score=ka.TanhDotScore(units=7, use_bias=False), penalty=0.5)
    m, a = layer(h, return_attention_scores=True)
    w_s2, w_s1 = (x.astype("float64") for x in layer.get_weights())
    expected = _softmax(np.stack([w_s2 @ np.tanh(w_s1.T @ x.T) for x in h]))  # eq. 6
    np.testing.assert_allclose(a, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(m, expected @ h, rtol=1e-4, atol=1e-5)  # eq. 7
    overlap = expected @ expected.transpose(0, 2, 1) - np.eye(3)
    penalty = 0.5 * np.square(overlap).sum((1, 2)).mean()  # eq. 8
    np.testing.assert_allclose(to_numpy(sum(layer.losses)), penalty, rtol=1e-5)


def test_the_penalty_trains_queries_apart():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6, 4)).astype("float32"), np.zeros((64, 2, 4), "float32")

    def overlap(penalty):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None, 4))
        pooled, weights = ka.AttentionPooling(2, penalty=penalty)(
            inputs, return_attention_scores=True
        )
        model, maps = keras.Model(inputs, pooled), keras.Model(inputs, weights)
        model.compile(keras.optimizers.Adam(0.05), "mse")
        model.fit(x, y, epochs=20, verbose=0)
        a = to_numpy(maps(x))
        return (a[:, 0] * a[:, 1]).sum(-1).mean()

    assert overlap(1.0) < 0.5 * overlap(0.0)


def test_an_empty_text_pools_to_zeros():
    ids = np.array([[1, 2, 0], [0, 0, 0]])
    embedded = keras.layers.Embedding(3, 4, mask_zero=True)(ids)
    pooled = to_numpy(ka.AttentionPooling()(embedded))
    np.testing.assert_array_equal(pooled[1], 0)
    assert np.abs(pooled[0]).max() > 0


def test_works_inside_time_distributed():
    inputs = keras.Input((3, 5, 4))
    outputs = keras.layers.TimeDistributed(ka.AttentionPooling())(inputs)
    assert outputs.shape == (None, 3, 4)
    assert keras.Model(inputs, outputs)(np.ones((2, 3, 5, 4))).shape == (2, 3, 4)


def test_rejects_a_query_where_it_learned_one():
    layer = ka.AttentionPooling()
    layer(np.ones((2, 5, 4)))
    with pytest.raises(ValueError, match="built without a given `query` and is now called with"):
        layer(np.ones((2, 5, 4)), np.ones((2, 4)))


def test_rejects_bad_num_queries():
    with pytest.raises(ValueError, match="`num_queries` must be a positive.* num_queries=0"):
        ka.AttentionPooling(num_queries=0)


def test_rejects_bad_penalty():
    with pytest.raises(ValueError, match="`penalty` must be.* penalty=-1"):
        ka.AttentionPooling(penalty=-1)


def test_rejects_a_query_of_the_wrong_size():
    with pytest.raises(ValueError, match=r"units=3.*query_shape=\(2, None, 4\)"):
        ka.AttentionPooling(score=ka.TanhDotScore(units=3))(np.ones((2, 5, 4)), np.ones((2, 4)))
