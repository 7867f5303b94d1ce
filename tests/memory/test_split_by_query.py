"""Blocks of queries of all heads, and causal pieces."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.functional.normalize import softmax
from tests.backend import needs_tensorflow, run, to_numpy
from tests.memory.comparison import (
    CAUSAL,
    QUERY,
    RNG,
    VALUE,
    check_numbers_and_gradients,
    check_unknown_lengths,
    close,
    in_blocks,
    whole,
)

CASES = {
    "additive, sparse, causal": (lambda: ka.ContentAttention("additive", "sparsemax"), CAUSAL),
    "entmax": (lambda: ka.ContentAttention("bilinear", "entmax15"), {}),
    "a sum of scores": (
        lambda: ka.ContentAttention(ka.ScaledDotScore() + ka.RelativePositionScore(5)),
        CAUSAL,
    ),
    "a slope a head": (
        lambda: ka.MultiHeadAttention(4, 2, num_key_value_heads=2, position=ka.ALiBiScore()),
        CAUSAL,
    ),
}


@pytest.mark.parametrize(("make", "flags"), CASES.values(), ids=CASES)
def test_numbers_and_gradients_of_the_whole(make, flags):
    check_numbers_and_gradients(make, flags)


@needs_tensorflow
def test_numbers_and_gradients_under_xla():
    check_numbers_and_gradients(*CASES["a slope a head"], jit=True)


@needs_tensorflow
@pytest.mark.parametrize("name", ["additive, sparse, causal", "a slope a head"])
def test_lengths_that_are_unknown_until_run_time(name):
    check_unknown_lengths(*CASES[name])


@needs_tensorflow
@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_that_is_unknown_until_run_time_sums_its_gradients(size):
    """A mask of some rows, and rows that add up: a batch of 1 must not be broadcast."""
    import tensorflow as tf

    layer = ka.ContentAttention("additive")
    layer(QUERY, VALUE)
    mask = (np.arange(18) % 7 != 3) & np.array([[True], [True]])
    given = {"query": QUERY[:size], "value": VALUE[:size], "value_mask": mask[:size]}
    given = {name: tf.constant(x) for name, x in given.items()}
    specs = {name: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for name, x in given.items()}

    def differentiate(given):
        floats = given["query"], given["value"]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            context = layer(**given)
            loss = tf.reduce_sum(context**3)
        weights = [weight.value for weight in layer.trainable_weights]
        return context, tape.gradient(loss, [*floats, *weights])

    with whole():
        expected = to_numpy(differentiate(given))
    with in_blocks():
        found = to_numpy(tf.function(differentiate, input_signature=[specs])(given))
    close(found, expected)


@pytest.mark.parametrize("steps", [14, 20], ids=["some see nothing", "all see some"])
def test_causal_pieces_meet_no_keys_that_no_query_sees(steps):
    """20 queries of 14 keys: the first six are before all of them."""
    met = []

    def score(query, key, start):
        met.append((query.shape[-2], key.shape[-2]))
        return ops.matmul(query, ops.swapaxes(key, -2, -1))

    query = RNG.normal(size=(1, 20, 8)).astype("float32")
    key = RNG.normal(size=(1, steps, 8)).astype("float32")
    mask = RNG.random((1, 20, steps)) < 0.7
    steps_of = Steps(score, lambda scores, mask, seed: softmax(scores, mask))
    with ka.query_blocks(threshold=0, rows=4):
        attention = Attention(steps_of, query, Keys(key, key, mask, masks.rule(True)))
        found, weights = attend(attention, return_weights=False)
    assert weights is None
    assert {queries for queries, _ in met} == {3}  # two blocks of about 4 in each piece of 5
    pieces = sorted({keys for _, keys in met})
    assert pieces == ([1, 4, 9, 14] if steps == 14 else [5, 10, 15, 20])
    seen = mask & np.tri(20, steps, steps - 20, dtype=bool)
    weights = np.exp(query @ key.swapaxes(-1, -2)) * seen
    close(to_numpy(found), weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9) @ key)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("sizes", [whole, in_blocks])
def test_queries_before_all_keys_see_nothing_without_any_mask(sizes, window):
    """24 queries of 18 keys: by position alone the first six see none, the seventh one."""
    layer = ka.ContentAttention("dot", window=window)
    with sizes():
        found = to_numpy(layer(QUERY, VALUE, use_causal_mask=True))
    assert not found[:, :6].any()
    close(found[:, 6], VALUE[:, 0])
    assert found[:, 6:].any(axis=-1).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_gradients_over_many_blocks(dtype):
    """A sum of many numbers in half precision stands still: 256 + 1 is 256 in bfloat16."""
    steps = 4096
    value = np.array([[[0.5], [-0.25], [1.0]]], "float32")

    class Summed(keras.layers.Layer):
        def call(self, value):
            return ops.sum(attention(query, value, key), axis=1)

    gradients = []
    for policy in (dtype, "float32"):
        query, key = np.ones((1, steps, 1), "float32"), 2 * value
        attention = ka.ContentAttention("dot", dtype=policy)
        with ka.query_blocks(threshold=0, block=1):
            layer, given = Summed(dtype=policy), {"value": value}
            gradients.append(run(layer, given, jit=True)[2]["value"])  # compiled loops are fast
    half, full = (gradient.astype("float32") for gradient in gradients)
    np.testing.assert_allclose(half, full, rtol=0.01)
