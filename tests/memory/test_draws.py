"""Dropout and random normalizers in blocks: other numbers in each, the same for the gradient."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, run, to_numpy
from tests.memory.comparison import QUERY, RNG, in_blocks


@pytest.mark.parametrize(
    "make",
    [
        lambda: ka.ContentAttention("dot", dropout=0.5, seed=1),
        lambda: ka.MultiHeadAttention(2, 4, dropout=0.5, seed=1, window=5),
        lambda: ka.ContentAttention("dot", "hard", seed=1),
    ],
    ids=["dropout", "dropout in a band", "a draw"],
)
def test_draws_are_the_same_for_the_gradient(make):
    """The context is linear in the values: its gradient by them times them gives it back."""

    class Linear(keras.layers.Layer):
        def call(self, value):
            return attention(QUERY, value, key=QUERY, training=True)

    attention = make()
    attention(QUERY, QUERY)
    for weight in attention.weights:
        if "bias" in weight.path:
            weight.assign(0 * weight)
    with in_blocks():
        context, _, gradients = run(Linear(), {"value": QUERY})
    weights = np.random.default_rng(0).normal(size=context.size).reshape(context.shape)
    total = np.sum(context * weights.astype("float32"))
    np.testing.assert_allclose(np.sum(gradients["value"] * QUERY), total, rtol=1e-3)


@needs_tensorflow
@pytest.mark.parametrize("shape", [(None, None, 8), (None, 24, 8)], ids=["lengths", "batch"])
def test_draws_are_the_same_for_the_gradient_where_sizes_are_unknown(shape):
    import tensorflow as tf

    layer = ka.ContentAttention("dot", dropout=0.5, seed=1)
    layer(QUERY, QUERY)

    @tf.function(input_signature=[tf.TensorSpec(shape)] * 3)
    def project(query, value, upstream):
        with tf.GradientTape() as tape:
            tape.watch(value)
            context = layer(query, value, key=query, training=True, use_causal_mask=True)
        return context, tape.gradient(context, value, upstream)

    upstream = RNG.normal(size=QUERY.shape).astype("float32")
    with in_blocks():
        context, gradient = to_numpy(project(QUERY, QUERY, upstream))
    np.testing.assert_allclose(np.sum(gradient * QUERY), np.sum(context * upstream), rtol=1e-3)


def test_dropout_differs_between_blocks_and_calls():
    ones = np.ones((1, 64, 4), "float32")
    layer = ka.ContentAttention("dot", dropout=0.5, seed=3)
    with ka.query_blocks(threshold=0, block=8 * 64 * 4):
        first, second = (to_numpy(layer(ones, ones, training=True)) for _ in range(2))
    rows = first[0, :, 0].reshape(8, 8)
    assert len(np.unique(rows, axis=0)) == 8
    assert not np.allclose(first, second)
    np.testing.assert_allclose(first.mean(), 1, atol=0.1)


@pytest.mark.parametrize("score", ["dot", "euclidean"])
def test_dropout_differs_between_causal_pieces(score):
    """The first queries of three pieces of 16, which all see the keys before them."""
    layer = ka.ContentAttention(score, dropout=0.5, seed=3)
    query, value = np.zeros((1, 64, 64), "float32"), np.eye(64, dtype="float32")[None]
    with ka.query_blocks(threshold=0, rows=4):
        weights = to_numpy(layer(query, value, query, training=True, use_causal_mask=True))
    kept = weights[0, [16, 32, 48], :17] > 0
    assert len(np.unique(kept, axis=0)) == 3


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_every_draw_of_every_block_is_another_one(score):
    """Two draws a step: which of two equal scores is taken, and whether dropout keeps it.

    Rows of the same draw would be alike: two steps that are kept would take the same value more
    often than every other time, and the one taken would be kept more often.
    """
    layer = ka.ContentAttention(score, normalizer="hard", dropout=0.5, seed=1)
    query, value = np.zeros((64, 64, 2), "float32"), np.eye(2, dtype="float32")[None].repeat(64, 0)
    key = np.zeros_like(value)
    layer(query, value, key)
    with ka.query_blocks(threshold=0, rows=1):
        context = to_numpy(layer(query, value, key, training=True))
    kept, taken = context.any(axis=-1), context.argmax(axis=-1)  # (B, T)
    np.testing.assert_allclose(kept.mean(), 0.5, atol=0.04)  # five standard deviations
    for distance in range(1, 49):
        both = kept[:, distance:] & kept[:, :-distance]
        is_same = (taken[:, distance:] == taken[:, :-distance])[both]
        np.testing.assert_allclose(is_same.mean(), 0.5, atol=2.5 / is_same.size**0.5)
