"""Dot products head by head, and hidden layers example by example: on TensorFlow alone."""

import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.memory import policy
from tests.backend import needs_tensorflow, to_numpy
from tests.memory.comparison import CAUSAL, RNG, check_numbers_and_gradients, close

CASES = {
    "dot": (lambda: ka.ContentAttention("dot"), {}),
    "heads, causal": (lambda: ka.MultiHeadAttention(4, 2), CAUSAL),
    "heads in groups": (lambda: ka.MultiHeadAttention(4, 2, num_key_value_heads=2), {}),
    "concat": (lambda: ka.ContentAttention(ka.ConcatScore("q,k,q*k")), {}),
}


@pytest.mark.parametrize(("make", "flags"), CASES.values(), ids=CASES)
def test_numbers_and_gradients_of_the_whole(make, flags):
    check_numbers_and_gradients(make, flags)


@needs_tensorflow
def test_numbers_and_gradients_under_xla():
    check_numbers_and_gradients(*CASES["heads, causal"], jit=True)


MASKS = {
    "no mask": None,
    "of keys": (3, 1, 1, 1, 13),
    "of keys, one for all": (13,),
    "of pairs": (22, 13),
    "of pairs by head": (1, 2, 2, 22, 13),
    "of pairs by example": (3, 1, 1, 22, 13),
    "of pairs by head in a group": (2, 22, 13),
}


@needs_tensorflow
@pytest.mark.parametrize("is_known", [True, False], ids=["batch known", "batch unknown"])
def test_heads_meet_their_own_keys_and_masks(is_known):
    """Two groups of two heads by NumPy, each group with keys of its own, in one graph."""
    import tensorflow as tf

    is_scored = []

    def score(query, key, start):
        is_scored.append(True)
        return 0.3 * query @ ops.swapaxes(key, -2, -1)

    steps = Steps(score, None, is_softmax=True, dot_scale=0.3)
    query = RNG.normal(size=(3, 2, 2, 22, 6)).astype("float32")
    key, value = RNG.normal(size=(2, 3, 2, 1, 13, 6)).astype("float32")
    query_mask = RNG.random((3, 1, 1, 22, 1)) < 0.8
    names = MASKS if is_known else ("of keys", "of pairs by head", "of pairs by example")
    given = {name: None if MASKS[name] is None else RNG.random(MASKS[name]) < 0.5 for name in names}
    specs = [
        tf.TensorSpec(x.shape if is_known else [None, *x.shape[1:]], x.dtype)
        for x in (query, key, value, query_mask)
    ]

    @tf.function(input_signature=specs)
    def differentiate(query, key, value, query_mask):
        results = {}
        for name, mask in given.items():
            with tf.GradientTape() as tape:
                tape.watch([query, key, value])
                keys = Keys(key, value, mask)
                attention = Attention(steps, query, keys, query_mask=query_mask)
                context, _ = attend(attention, return_weights=False)
                loss = tf.reduce_sum(context**2)
            results[name] = context, tape.gradient(loss, [query, key, value])
        return results

    with ka.query_blocks(threshold=1, block=7 * 13 * 4):
        results = to_numpy(differentiate(query, key, value, query_mask))
    # Blocks of transposed keys call no score: only the branch for small scores does.
    assert bool(is_scored) != is_known
    for name, mask in given.items():
        context, gradients = results[name]
        seen = query_mask & (True if mask is None else mask)
        weights = np.exp(0.3 * np.einsum("bghtd,bgxsd->bghts", query, key)) * seen
        weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-9)
        expected = weights @ value
        by_weights = 2 * expected @ value.swapaxes(-1, -2)
        by_scores = weights * (by_weights - (weights * by_weights).sum(-1, keepdims=True))
        by_key = (by_scores.swapaxes(-1, -2) @ query).sum(2, keepdims=True)
        by_value = (weights.swapaxes(-1, -2) @ expected).sum(2, keepdims=True)
        close(context, expected)
        close(gradients, [0.3 * by_scores @ key, 0.3 * by_key, 2 * by_value])


@needs_tensorflow
def test_keys_of_a_group_are_not_repeated_for_its_heads():
    import tensorflow as tf

    query, key = np.ones((1, 2, 3, 20, 4), "float32"), np.ones((1, 2, 1, 20, 4), "float32")
    steps = Steps(None, None, is_softmax=True, dot_scale=0.3)
    with ka.query_blocks(threshold=0, block=1, rows=5):
        graph = tf.function(
            lambda key: attend(Attention(steps, query, Keys(key, key)), return_weights=False)[0]
        ).get_concrete_function(key)
    operations = {node.op for node in graph.graph.as_graph_def().node}
    assert not operations & {"BroadcastTo", "Tile"}


@needs_tensorflow
def test_dot_products_transpose_the_keys_once():
    def score(query, key, start):
        raise AssertionError("a block that transposes its keys itself")

    x = RNG.normal(size=(1, 48, 4)).astype("float32")
    steps = Steps(score, lambda scores, mask, seed: ops.softmax(scores), dot_scale=0.3)
    with ka.query_blocks(threshold=0, block=1, rows=16):
        found, _ = attend(Attention(steps, x, Keys(x, x)), return_weights=False)
    weights = np.exp(0.3 * x @ x.swapaxes(1, 2))
    close(to_numpy(found), weights / weights.sum(-1, keepdims=True) @ x)


@needs_tensorflow
def test_small_heads_are_computed_together():
    """40 examples whose scores take 1 KiB: sixteen of them have to fill a block."""
    x = np.ones((40, 16, 4), "float32")
    attention = Attention(Steps(None, None, dot_scale=0.3), x, Keys(x, x))
    with ka.query_blocks(block=2**14 + 1):
        assert not policy.is_by_head(attention)
    with ka.query_blocks(block=2**14):
        assert policy.is_by_head(attention)


class TableScore(ka.Score):
    """Prepares one table for all examples, which could be cut by example and must not be."""

    def prepare_key(self, key):
        return key, key[0]  # (B, S, D) and (S, D)

    def compare(self, query, prepared, start):
        batches.append(query.shape[0])
        return ops.matmul(query, ops.transpose(prepared[1])) + ops.sum(prepared[0], -1)[:, None]

    @property
    def pair_size(self):
        return 8


class WatchedScore(ka.AdditiveScore):
    def compare(self, query, key, start):
        batches.append(query.shape[0])
        return super().compare(query, key, start)


class WatchedEuclideanScore(ka.EuclideanScore):
    def compare(self, query, key, start):
        batches.append(query.shape[0])
        return super().compare(query, key, start)


batches = []  # of each call of a score


@needs_tensorflow
@pytest.mark.parametrize(
    ("score", "jit", "training", "expected"),
    [
        (WatchedScore, False, False, 1),
        (WatchedEuclideanScore, False, False, 20),  # no hidden layer for each pair
        (WatchedScore, True, False, 20),  # XLA fuses the computation of a block
        (WatchedScore, False, True, 20),  # dropout draws for all examples
        (TableScore, False, False, 20),
    ],
)
def test_a_hidden_layer_is_computed_example_by_example(score, jit, training, expected):
    """As many keys as examples: sizes alone do not tell a table from a batch."""
    import tensorflow as tf

    layer = ka.ContentAttention(score(), dropout=0.3)
    x = RNG.normal(size=(20, 20, 8)).astype("float32")
    whole, _ = layer(x, x, return_attention_scores=True)
    batches.clear()
    with ka.query_blocks(threshold=0, block=2**13):
        found = tf.function(lambda x: layer(x, x, training=training), jit_compile=jit)(x)
    assert set(batches) == {expected}
    if not training:
        close(to_numpy(found), to_numpy(whole))
