"""Attention flow and what stands around it, against NumPy written from the equations."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from recipes.parts import attention_flow as flow

B, T, S, D = 2, 5, 4, 3
CONTEXT_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
QUESTION_MASK = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    return rng.normal(size=(B, T, D)).astype("float32"), rng.normal(size=(B, S, D)).astype(
        "float32"
    )


def softmax(scores, mask):
    weights = np.exp(scores) * mask
    return weights / weights.sum(-1, keepdims=True)


def with_weights(layer, seed=1):
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return [ops.convert_to_numpy(variable) for variable in layer.trainable_variables]


def test_equations_1_to_5_of_seo(texts):
    h, u = texts
    layer = flow.AttentionFlow()
    layer(h, u, CONTEXT_MASK, QUESTION_MASK)
    product, of_query, of_key = with_weights(layer)
    outputs = layer(h, u, CONTEXT_MASK, QUESTION_MASK)
    w = np.concatenate([of_query[:, 0], of_key[:, 0], product])  # of h, u and their product
    scores = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        scores[b, t, s] = w @ np.concatenate([h[b, t], u[b, s], h[b, t] * u[b, s]])
    a = softmax(scores, QUESTION_MASK[:, None]) * CONTEXT_MASK[..., None]
    found = a @ u
    b = softmax(np.where(QUESTION_MASK[:, None], scores, -np.inf).max(-1), CONTEXT_MASK)
    told = np.broadcast_to((b[:, None] @ h), h.shape)
    g = np.concatenate([h, found, h * found, h * told], axis=-1)
    for got, expected in zip(outputs, (g, a, b), strict=True):
        got = ops.convert_to_numpy(got)
        rows = CONTEXT_MASK if got.ndim == 3 else slice(None)
        np.testing.assert_allclose(got[rows], expected[rows], rtol=1e-4, atol=1e-5)


def test_the_score_is_that_of_the_package(texts):
    score, same = flow.TrilinearScore(), ka.ConcatScore("q,k,q*k", activation=None)
    score(*texts), same(*texts)
    product, of_query, of_key = with_weights(score)
    same.set_weights([of_query, of_key, product[:, None]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(score(*texts)),
        ops.convert_to_numpy(same(*texts)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_side_that_is_off_finds_means(texts):
    h, u = texts
    off = flow.AttentionFlow(False, False)
    g, weights, looked_at = map(ops.convert_to_numpy, off(h, u, CONTEXT_MASK, QUESTION_MASK))
    assert not off.trainable_variables
    mean = (u * QUESTION_MASK[..., None]).sum(1) / QUESTION_MASK.sum(1)[:, None]
    means = np.broadcast_to(mean[:, None], h.shape)
    np.testing.assert_allclose(g[..., D : 2 * D][CONTEXT_MASK], means[CONTEXT_MASK], rtol=1e-5)
    np.testing.assert_allclose(weights[0, 0], [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(looked_at[1], [1 / 3, 1 / 3, 1 / 3, 0, 0], rtol=1e-6)
    both = flow.AttentionFlow()
    whole = ops.convert_to_numpy(both(h, u, CONTEXT_MASK, QUESTION_MASK)[0])
    for sides, kept, changed in (((True, False), 3, 4), ((False, True), 4, 3)):
        one = flow.AttentionFlow(*sides)
        part = ops.convert_to_numpy(one(h, u, CONTEXT_MASK, QUESTION_MASK)[0])
        blocks = {3: slice(D, 3 * D), 4: slice(3 * D, 4 * D)}  # of u~ and of h~
        np.testing.assert_allclose(
            part[..., blocks[kept]][CONTEXT_MASK], whole[..., blocks[kept]][CONTEXT_MASK], rtol=1e-4
        )
        assert np.abs(part - whole)[..., blocks[changed]].max() > 1e-3


def test_padding_is_invisible(texts):
    h, u = texts
    layer, block = flow.AttentionFlow(), flow.ConvolutionBlock(D, distance=2)
    before = layer(h, u, CONTEXT_MASK, QUESTION_MASK), block(h, CONTEXT_MASK)
    h, u = h.copy(), u.copy()
    h[~CONTEXT_MASK], u[~QUESTION_MASK] = 1e3, 1e3
    after = layer(h, u, CONTEXT_MASK, QUESTION_MASK), block(h, CONTEXT_MASK)
    for old, new in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        old, new = ops.convert_to_numpy(old), ops.convert_to_numpy(new)
        rows = CONTEXT_MASK if old.ndim == 3 else slice(None)
        np.testing.assert_allclose(new[rows], old[rows], rtol=1e-5, atol=1e-6)


def test_a_convolution_is_that_of_keras(texts):
    h, _ = texts
    block, same = (
        flow.ConvolutionBlock(D, distance=2),
        keras.layers.Conv1D(D, 3, padding="same", dilation_rate=2, activation="relu"),
    )
    found = ops.convert_to_numpy(block(h, CONTEXT_MASK))
    read = block.norm(h) * CONTEXT_MASK[..., None]
    same(read)
    kernel, bias = block.dense.get_weights()
    same.set_weights([kernel.reshape(3, D, D), bias])
    np.testing.assert_allclose(found, h + ops.convert_to_numpy(same(read)), rtol=1e-4, atol=1e-5)


def test_runs_of_words_that_both_texts_have():
    ids, others = np.array([[5, 6, 7, 9, 1, 0]]), np.array([[6, 7, 9, 5, 0, 1]])
    features = ops.convert_to_numpy(flow.MatchFeatures(4)(ids, others))[0].T
    here = [[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]
    assert features[:4].tolist() == here
    for number, size in enumerate(flow.MatchFeatures.WINDOWS):
        near = [
            [sum(row[max(0, t - size // 2) : t + size // 2 + 1]) / size for t in range(6)]
            for row in here
        ]
        np.testing.assert_allclose(features[4 * number + 4 : 4 * number + 8], near, rtol=1e-5)


def test_the_best_span_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    start, end = rng.normal(size=(2, 40, 7)).astype("float32")
    known = np.arange(7) < rng.integers(1, 8, (40, 1))
    start, end = (np.where(known, x, -1e9).astype("float32") for x in (start, end))
    first, last, score, probability = map(ops.convert_to_numpy, flow.BestSpan(3)(start, end))
    for row in range(40):
        pairs = {
            (a, b): start[row, a] + end[row, b]
            for a in range(7)
            for b in range(a, min(7, a + 3))
            if known[row, a] and known[row, b]
        }
        best = max(pairs, key=pairs.get)
        assert (first[row], last[row]) == best and score[row] == pytest.approx(pairs[best])
        total = np.exp(list(pairs.values())).sum()
        assert probability[row] == pytest.approx(np.exp(pairs[best]) / total, rel=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        flow.AttentionFlow(True, False),
        flow.MatchFeatures(3),
        flow.ConvolutionBlock(8, 4, dropout=0.1, seed=3),
        flow.BestSpan(4),
        flow.TrilinearScore(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_come_back_from_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
