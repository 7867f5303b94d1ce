"""ConvAttentionPooling."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "learned query": Case(
            lambda **kw: ka.ConvAttentionPooling(7, 3, **kw),
            tensors={"value": "BSE"},
            weights="BS",
            masks={"mask": "value"},
        ),
        "given query": Case(
            lambda **kw: ka.ConvAttentionPooling(7, 2, "tanh", score="additive", **kw),
            tensors={"value": "BSE", "query": "BD"},
            weights="BS",
            masks={"value_mask": "value"},
        ),
        "several learned queries": Case(
            lambda **kw: ka.ConvAttentionPooling(7, 3, num_queries=3, penalty=0.1, **kw),
            tensors={"value": "BSE"},
            weights="BTS",
            masks={"mask": "value"},
        ),
    }


def test_attention_pooling_of_er_2016():
    """n-grams c_i, compared with another view s of the sentence, weighed by a softmax."""
    rng = np.random.default_rng(0)
    x, s = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 6))
    score = ka.CosineScore(scale=1.0, use_learned_scale=False)
    layer = ka.ConvAttentionPooling(6, 3, score=score)
    layer(x, s)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    output, alpha = layer(x, s, return_attention_scores=True)
    w, b = (array.astype("float64") for array in layer.get_weights())
    for n in range(2):
        padded = np.concatenate([np.zeros((1, 4)), x[n], np.zeros((1, 4))])
        c = np.zeros((5, 6))
        for i in range(5):
            for k in range(3):
                c[i] += padded[i + k] @ w[k]
            c[i] = np.maximum(c[i] + b, 0)
        e = np.array([c_i @ s[n] / np.linalg.norm(c_i) / np.linalg.norm(s[n]) for c_i in c])
        expected = np.exp(e) / np.exp(e).sum()
        np.testing.assert_allclose(alpha[n], expected, rtol=1e-5)
        np.testing.assert_allclose(output[n], expected @ c, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [2, 3, 9])
def test_padding_at_either_end_changes_nothing(kernel_size):
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    layer = ka.ConvAttentionPooling(6, kernel_size)
    expected, weights = to_numpy(layer(x, return_attention_scores=True))
    for left, right in ((0, 3), (4, 0), (2, 6)):
        ends = ((0, 0), (left, right))
        padded = np.pad(x, (*ends, (0, 0)), constant_values=np.nan)
        mask = np.pad(np.ones((2, 5), "bool"), ends)
        got, padded_weights = to_numpy(layer(padded, mask=mask, return_attention_scores=True))
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(padded_weights, np.pad(weights, ends), rtol=1e-5)


def test_finds_the_planted_pair_of_words():
    """Order matters to a feature of two steps: `1 2` is the signal and `2 1` is not."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 9, size=(128, 12))
    label = np.arange(128) % 2
    for row, pair in enumerate(np.where(label[:, None] == 1, [[1, 2]], [[2, 1]])):
        place = rng.integers(0, 11)
        ids[row, place : place + 2] = pair
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8)(inputs)
    x, weights = ka.ConvAttentionPooling(8, 2)(x, return_attention_scores=True)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss)
    model.fit(ids, label, batch_size=16, epochs=15, verbose=0)
    assert ((to_numpy(model(ids))[:, 0] > 0) == label).mean() > 0.98
    heaviest = to_numpy(keras.Model(inputs, weights)(ids)).argmax(-1)
    found = np.isin(np.take_along_axis(ids, heaviest[:, None], 1), [1, 2])[:, 0]
    # It is enough to find one of the pairs: the other may be known by the absence of that one.
    assert max(found[label == 0].mean(), found[label == 1].mean()) > 0.9


def test_rejects_a_query_that_the_score_cannot_compare():
    layer = ka.ConvAttentionPooling(6, 3, score="cosine")
    with pytest.raises(ValueError, match=r"query_shape=\(2, None, 4\), key_shape=\(2, 5, 6\)"):
        layer(np.ones((2, 5, 4)), np.ones((2, 4)))


def test_rejects_bad_filters():
    with pytest.raises(ValueError, match="`filters` must be a positive integer.*filters=0"):
        ka.ConvAttentionPooling(0, 3)


def test_rejects_bad_kernel_size():
    with pytest.raises(ValueError, match="`kernel_size` must be a positive integer.*size=1.5"):
        ka.ConvAttentionPooling(4, 1.5)
