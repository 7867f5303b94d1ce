"""Attention in blocks of queries and in bands: the same numbers as attention as a whole."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional import block_walk, blocks, masks
from keras_attention.functional.attend import Keys, attend
from keras_attention.functional.for_tflite import for_tflite
from keras_attention.functional.normalize import softmax
from tests.backend import BACKEND, needs_tensorflow, run, to_numpy

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(2, 70, 8)).astype("float32")
VALUE = RNG.normal(size=(2, 50, 8)).astype("float32")
# One row is padded in the middle, the other has nothing to attend to at all.
QUERY_MASK = np.arange(70) < np.array([[70], [33]])
VALUE_MASK = (np.arange(50) % 7 != 3) & np.array([[True], [False]])
CAUSAL = {"use_causal_mask": True}

CROSS = {
    "dot": (lambda: ka.ContentAttention("dot"), {}),
    "additive, sparse, causal": (lambda: ka.ContentAttention("additive", "sparsemax"), CAUSAL),
    "concat": (lambda: ka.ContentAttention(ka.ConcatScore("q,k,q*k")), {}),
    "bilinear, entmax": (lambda: ka.ContentAttention("bilinear", "entmax15"), CAUSAL),
    "a sum of scores": (
        lambda: ka.ContentAttention(ka.ScaledDotScore() + ka.RelativePositionScore(5)),
        CAUSAL,
    ),
    "heads": (lambda: ka.MultiHeadAttention(4, 2), CAUSAL),
    "heads in groups": (lambda: ka.MultiHeadAttention(4, 2, num_key_value_heads=2), {}),
    "a slope a head": (
        lambda: ka.MultiHeadAttention(4, 2, num_key_value_heads=2, position=ka.ALiBiScore()),
        CAUSAL,
    ),
    "distances": (lambda: ka.MultiHeadAttention(4, 2, position=ka.RelativePositionScore(4)), {}),
    "window": (lambda: ka.ContentAttention(window=6), {}),
    "window, additive, causal": (lambda: ka.ContentAttention("additive", window=6), CAUSAL),
    "window, location": (lambda: ka.ContentAttention(ka.LocationScore(50), window=6), {}),
    "local-p": (lambda: ka.LocalAttention(1), {}),
    "local-p, causal": (lambda: ka.LocalAttention(1, "bilinear"), CAUSAL),
    "local-m": (lambda: ka.LocalAttention(1, "additive", center="monotonic"), CAUSAL),
}
SELF = {
    "window, global": (lambda: ka.MultiHeadAttention(4, 2, window=5, num_global=3), {}),
    "window, global, causal, in groups": (
        lambda: ka.MultiHeadAttention(
            4, 2, 3, num_key_value_heads=2, position=ka.ALiBiScore(), window=7, num_global=2
        ),
        CAUSAL,
    ),
    "window, distances": (
        lambda: ka.SelfAttention(ka.ScaledDotScore() + ka.RelativePositionScore(4), window=9),
        CAUSAL,
    ),
    "window of most": (lambda: ka.MultiHeadAttention(4, 2, window=26), {}),
    "rotary": (
        lambda: ka.MultiHeadAttention(4, 2, position=ka.RotaryPositionEmbedding(), window=9), {},
    ),
}  # fmt: skip


def in_blocks():
    """Blocks of a few queries of what is below, whatever its size."""
    return ka.query_blocks(threshold=0, block=9 * 50 * 8 * 4, rows=9)


def whole():
    return ka.query_blocks(threshold=None)


def arguments(layer, kind):
    if kind == "cross":
        masks = {"query_mask": QUERY_MASK, "value_mask": VALUE_MASK}
        return {"query": QUERY, "value": VALUE, **masks}
    if isinstance(layer, ka.SelfAttention):
        return {"inputs": QUERY, "mask": QUERY_MASK}
    return {"query": QUERY, "value": QUERY, "query_mask": QUERY_MASK, "value_mask": QUERY_MASK}


def trained(make, kind):
    layer = make()
    given = arguments(layer, kind)
    layer(**given)
    for weight in layer.trainable_weights:
        weight.assign(weight + 0.3 * RNG.normal(size=weight.shape))
    return layer, given


def close(actual, expected):
    keras.tree.map_structure(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=2e-5), actual, expected
    )


CASES = [
    (kind, *case) for kind, some in (("cross", CROSS), ("self", SELF)) for case in some.values()
]
NAMES = [*CROSS, *SELF]


# To trace and compile is slow: those that differ in how they walk. (JAX compiles all.)
COMPILED = (
    "dot", "additive, sparse, causal", "a slope a head", "window, additive, causal", "local-m",
    "window, global, causal, in groups", "window, distances", "rotary",
)  # fmt: skip
EAGER_AND_XLA = [
    pytest.param(*case, jit, id=f"{name}, xla" if jit else name)
    for name, case in zip(NAMES, CASES, strict=True)
    for jit in ((None, True) if name in COMPILED and BACKEND == "tensorflow" else (None,))
]


@pytest.mark.parametrize(("kind", "make", "flags", "jit"), EAGER_AND_XLA)
def test_blocks_give_the_numbers_and_gradients_of_the_whole(kind, make, flags, jit):
    layer, given = trained(make, kind)
    with whole():
        expected = run(layer, given, **flags)
    with in_blocks():
        found = run(layer, given, jit, **flags)
    close(found, expected)
    # And of the whole with its weights at hand.
    context, weights = layer(**given, **flags, return_attention_scores=True)
    close(found[0], to_numpy(context))
    nothing = ~to_numpy(weights).any(axis=-1)
    assert nothing[1].all() if kind == "cross" else nothing.any()


# XLA takes long over both branches of the condition.
BRANCHES_UNDER_XLA = "a slope a head", "local-m", "window, global, causal, in groups"


@needs_tensorflow
@pytest.mark.parametrize(
    ("kind", "make", "flags", "jit"),
    [
        pytest.param(*case, jit, id=f"{name}, {'xla' if jit else 'graph'}")
        for name, case in zip(NAMES, CASES, strict=True)
        if name in COMPILED
        for jit in ((False, True) if name in BRANCHES_UNDER_XLA else (False,))
    ],
)
def test_lengths_that_only_the_run_knows(kind, make, flags, jit):
    import tensorflow as tf

    layer, given = trained(make, kind)
    shapes = {name: tf.TensorSpec([None, None, *x.shape[2:]], x.dtype) for name, x in given.items()}

    @tf.function(jit_compile=jit, input_signature=[shapes])
    def differentiate(given):
        floats = [x for x in given.values() if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            context = layer(**given, **flags)
            loss = tf.reduce_sum(context**2)
        weights = [weight.value for weight in layer.trainable_weights]
        return context, tape.gradient(loss, [*floats, *weights])

    tensors = {name: tf.constant(x) for name, x in given.items()}
    with in_blocks():
        assert "/cond" in _names(differentiate)
        found = to_numpy(differentiate(tensors))
    with whole():
        close(found[0], to_numpy(layer(**given, **flags)))
    assert all(np.isfinite(x).all() for x in found[1])


@needs_tensorflow
@pytest.mark.parametrize("jit", [False, True])
def test_a_block_has_some_rows_and_under_xla_twice_as_many(jit):
    import tensorflow as tf

    lengths = []

    def score(query, key, start):
        lengths.append(query.shape[-2])
        return ops.matmul(query, ops.swapaxes(key, -2, -1))

    def context(x):
        with ka.query_blocks(threshold=0, block=1):
            return attend(x, x, x, score=score, normalizer=normalize_rows, pair_size=1)[0]

    def normalize_rows(scores, mask, seed):
        return ops.softmax(scores)

    x = RNG.normal(size=(1, 192, 12)).astype("float32")
    found = tf.function(context, jit_compile=jit)(x)
    assert lengths == [48 if jit else 24]
    close(to_numpy(found), to_numpy(attend(x, x, x, score=score, normalizer=normalize_rows)[0]))


@needs_tensorflow
def test_dot_products_turn_the_keys_once():
    def score(query, key, start):
        raise AssertionError("a block that turns its keys itself")

    x = RNG.normal(size=(1, 192, 12)).astype("float32")
    sizes = {"normalizer": lambda scores, mask, seed: ops.softmax(scores), "pair_size": 1}
    with ka.query_blocks(threshold=0, block=1):
        found, _ = attend(x, x, x, score=score, dot_scale=0.3, **sizes)
    weights = np.exp(0.3 * x @ x.swapaxes(1, 2))
    close(to_numpy(found), weights / weights.sum(-1, keepdims=True) @ x)


MASKS = {
    "no mask": None,
    "of keys": (3, 1, 1, 1, 50),
    "of keys, one for all": (50,),
    "of pairs": (70, 50),
    "of pairs by head": (1, 2, 2, 70, 50),
    "of pairs by example": (3, 1, 1, 70, 50),
    "of pairs by head in a group": (2, 70, 50),
}


@needs_tensorflow
@pytest.mark.parametrize("is_known", [True, False], ids=["batch known", "batch unknown"])
@pytest.mark.parametrize("shape", MASKS.values(), ids=MASKS)
def test_heads_one_by_one_meet_their_own_keys_and_masks(shape, is_known):
    """Two groups of two heads by NumPy, each group with keys of its own."""
    import tensorflow as tf

    def score(query, key, start):
        raise AssertionError("heads that go together")

    query = RNG.normal(size=(3, 2, 2, 70, 8)).astype("float32")
    key, value = RNG.normal(size=(2, 3, 2, 1, 50, 8)).astype("float32")
    query_mask = RNG.random((3, 1, 1, 70, 1)) < 0.8
    mask = None if shape is None else RNG.random(shape) < 0.5
    specs = [
        tf.TensorSpec(x.shape if is_known else [None, *x.shape[1:]], x.dtype)
        for x in (query, key, value, query_mask)
    ]

    @tf.function(input_signature=specs)
    def differentiate(query, key, value, query_mask):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            context, _ = attend(
                query,
                value,
                key,
                score=score,
                normalizer=None,
                mask=mask,
                query_mask=query_mask,
                pair_size=1,
                dot_scale=0.3,
                is_softmax=True,
            )
            loss = tf.reduce_sum(context**2)
        return context, tape.gradient(loss, [query, key, value])

    with ka.query_blocks(threshold=1, block=20 * 50 * 4):
        if not is_known:  # what is whole is scored
            with pytest.raises(AssertionError):
                differentiate.get_concrete_function()
            score = lambda q, k, start: 0.3 * q @ ops.swapaxes(k, -2, -1)  # noqa: E731
        found, gradients = to_numpy(differentiate(query, key, value, query_mask))
    seen = query_mask & (True if mask is None else mask)
    scores = 0.3 * np.einsum("bghtd,bgxsd->bghts", query, key)
    weights = np.exp(scores) * seen
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-9)
    expected = weights @ value
    by_weights = 2 * expected @ value.swapaxes(-1, -2)
    by_scores = weights * (by_weights - (weights * by_weights).sum(-1, keepdims=True))
    close(found, expected)
    close(gradients[0], 0.3 * by_scores @ key)
    close(gradients[1], 0.3 * (by_scores.swapaxes(-1, -2) @ query).sum(2, keepdims=True))
    close(gradients[2], 2 * (weights.swapaxes(-1, -2) @ expected).sum(2, keepdims=True))


@needs_tensorflow
def test_small_heads_go_together(monkeypatch):
    def refuse(*args):
        raise AssertionError("heads that go one by one")

    monkeypatch.setattr(block_walk.Blocks, "of_heads", refuse)
    x = np.ones((40, 16, 4), "float32")  # a head's scores are 1 KiB
    with ka.query_blocks(threshold=0, block=2**14 + 1, rows=4):
        ka.ContentAttention("dot")(x, x)
    with ka.query_blocks(threshold=0, block=2**14, rows=4), pytest.raises(AssertionError):
        ka.ContentAttention("dot")(x, x)


class TableScore(ka.Score):
    """Prepares one table for all examples, which could be cut by example and must not be."""

    def prepare_key(self, key):
        return key, key[0]  # (B, S, D) and (S, D)

    def compare(self, query, prepared, start):
        return ops.matmul(query, ops.transpose(prepared[1])) + ops.sum(prepared[0], -1)[:, None]

    @property
    def pair_size(self):
        return 8


@needs_tensorflow
@pytest.mark.parametrize(
    ("score", "jit", "training", "expected"),
    [
        ("additive", False, False, 1),
        ("euclidean", False, False, 50),  # no hidden layer for each pair
        ("additive", True, False, 50),  # XLA joins what a block computes
        ("additive", False, True, 50),  # dropout draws for all examples
        (TableScore(), False, False, 50),
    ],
)
def test_examples_go_one_by_one_where_pairs_take_a_hidden_layer(
    monkeypatch, score, jit, training, expected
):
    """As many keys as examples: sizes alone do not tell a table from a batch."""
    import tensorflow as tf

    batches = set()
    layer = ka.ContentAttention(score, dropout=0.3)
    compare = layer.score.compare

    def watched(query, *others):
        batches.add(query.shape[0])
        return compare(query, *others)

    x = RNG.normal(size=(50, 50, 8)).astype("float32")
    whole_context, _ = layer(x, x, return_attention_scores=True)
    monkeypatch.setattr(type(layer.score), "compare", lambda self, *args: watched(*args))
    with ka.query_blocks(threshold=0, block=2**16):
        found = tf.function(lambda x: layer(x, x, training=training), jit_compile=jit)(x)
    assert batches == {expected}
    if not training:
        close(to_numpy(found), to_numpy(whole_context))


@needs_tensorflow
@pytest.mark.parametrize("size", [1, 2])
def test_examples_that_only_the_run_counts_add_up_their_gradients(size):
    import tensorflow as tf

    layer, given = trained(lambda: ka.ContentAttention("additive"), "cross")
    given["value_mask"] = VALUE_MASK[[0, 0]]  # of the other row there is no gradient
    given = {name: tf.constant(x[:size]) for name, x in given.items()}
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


def _names(function):
    graph = function.get_concrete_function().graph.as_graph_def()
    return " ".join(
        node.name for nodes in (graph.node, *(f.node_def for f in graph.library.function))
        for node in nodes
    )  # fmt: skip


def test_short_sequences_are_computed_whole(monkeypatch):
    monkeypatch.setattr(blocks, "_of_queries", None)
    ka.MultiHeadAttention(8, 64)(np.ones((1, 512, 8), "float32"), np.ones((1, 512, 8), "float32"))
    with pytest.raises(TypeError):
        ka.MultiHeadAttention(8, 4)(np.ones((1, 2048, 8)), np.ones((1, 2048, 8)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ka.ContentAttention("dot", dropout=0.5, seed=1),
        lambda: ka.MultiHeadAttention(2, 4, dropout=0.5, seed=1, window=9),
        lambda: ka.ContentAttention("dot", "hard", seed=1),
    ],
    ids=["dropout", "dropout in a band", "a draw"],
)
def test_what_is_drawn_is_drawn_alike_for_the_gradient(make):
    """The context is linear in the values: its gradient by them times them gives it back."""
    query = RNG.normal(size=(2, 70, 8)).astype("float32")

    class Linear(keras.layers.Layer):
        def call(self, value):
            return attention(query, value, key=query, training=True)

    attention = make()
    attention(query, query)
    for weight in attention.weights:
        if "bias" in weight.path:
            weight.assign(0 * weight)
    with in_blocks():
        context, _, gradients = run(Linear(), {"value": query})
    weights = np.random.default_rng(0).normal(size=context.size).reshape(context.shape)
    total = np.sum(context * weights.astype("float32"))
    np.testing.assert_allclose(np.sum(gradients["value"] * query), total, rtol=1e-3)


@needs_tensorflow
@pytest.mark.parametrize("shape", [(None, None, 8), (None, 70, 8)], ids=["lengths", "batch"])
def test_draws_are_the_same_for_the_gradient_where_only_the_run_knows(shape):
    import tensorflow as tf

    query = RNG.normal(size=(2, 70, 8)).astype("float32")
    layer = ka.ContentAttention("dot", dropout=0.5, seed=1)
    layer(query, query)

    @tf.function(input_signature=[tf.TensorSpec(shape)] * 3)
    def project(query, value, upstream):
        with tf.GradientTape() as tape:
            tape.watch(value)
            context = layer(query, value, key=query, training=True, use_causal_mask=True)
        return context, tape.gradient(context, value, upstream)

    upstream = RNG.normal(size=(2, 70, 8)).astype("float32")
    with in_blocks():
        context, gradient = to_numpy(project(query, query, upstream))
    np.testing.assert_allclose(np.sum(gradient * query), np.sum(context * upstream), rtol=1e-3)


@pytest.mark.parametrize("steps", [70, 100], ids=["some see nothing", "all see some"])
def test_a_causal_walk_meets_no_keys_that_no_query_sees(steps):
    """100 queries of 70 keys: the first thirty are before all of them."""
    met = []

    def score(query, key, start):
        met.append((query.shape[-2], key.shape[-2]))
        return ops.matmul(query, ops.swapaxes(key, -2, -1))

    query, key = RNG.normal(size=(1, 100, 8)), RNG.normal(size=(1, steps, 8))
    query, key = query.astype("float32"), key.astype("float32")
    mask = RNG.random((1, 100, steps)) < 0.7
    with ka.query_blocks(threshold=0, rows=20):
        found, _ = attend(
            query,
            key,
            key,
            score=score,
            normalizer=lambda scores, mask, seed: softmax(scores, mask),
            mask=mask,
            rule=masks.rule(True),
            pair_size=1,
        )
    pieces = sorted({keys for _, keys in met})
    assert pieces == ([1, 20, 45, 70] if steps == 70 else [25, 50, 75, 100])
    seen = mask & np.tri(100, steps, steps - 100, dtype=bool)
    weights = np.exp(query @ key.swapaxes(-1, -2)) * seen
    close(to_numpy(found), weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9) @ key)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("sizes", [whole, in_blocks])
def test_queries_before_all_keys_see_nothing_without_any_mask(sizes, window):
    """70 queries of 50 keys: by their numbers alone the first twenty see none, the others one."""
    layer = ka.ContentAttention("dot", window=window)
    with sizes():
        found = to_numpy(layer(QUERY, VALUE, use_causal_mask=True))
    assert not found[:, :20].any()
    close(found[:, 20], VALUE[:, 0])
    assert found[:, 20:].any(axis=-1).all()


def test_dropout_differs_between_blocks_and_calls():
    ones = np.ones((1, 64, 4), "float32")
    layer = ka.ContentAttention("dot", dropout=0.5, seed=3)
    with blocks.query_blocks(threshold=0, block=8 * 64 * 4):
        first, second = (to_numpy(layer(ones, ones, training=True)) for _ in range(2))
    rows = first[0, :, 0].reshape(8, 8)
    assert len(np.unique(rows, axis=0)) == 8
    assert not np.allclose(first, second)
    np.testing.assert_allclose(first.mean(), 1, atol=0.1)


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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_finite(dtype):
    layer = ka.MultiHeadAttention(4, 2, window=9, dtype=dtype)
    layer(QUERY, QUERY)
    with in_blocks():
        context, weights, inputs = run(
            layer, {"query": 1e3 * QUERY, "value": QUERY, "value_mask": QUERY_MASK}
        )
    for x in keras.tree.flatten((context, weights, inputs)):
        assert np.isfinite(x.astype("float32")).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_gradients_over_many_blocks(dtype):
    """A sum of many numbers in half precision stands still: 256 + 1 is 256 in bfloat16."""
    steps = 8192
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


def test_a_block_may_be_asked_for_in_one_place():
    x, sizes = np.ones((1, 70, 4), "float32"), []

    def normalizer(scores, mask=None):
        sizes.append(scores.shape[-2])
        return softmax(scores, mask)

    layer = ka.ContentAttention("additive", normalizer)
    with ka.query_blocks(threshold=0, rows=10), ka.query_blocks(threshold=None):
        layer(x, x)
    assert set(sizes) == {70}
    layer(x, x)
    assert set(sizes) == {70}
    with ka.query_blocks(threshold=0, rows=10):
        layer(x, x)
    assert set(sizes) == {70, 10}


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_rejects_blocks_of_no_query(bad):
    with (
        pytest.raises(ValueError, match="`rows` must be a positive integer"),
        ka.query_blocks(rows=bad),
    ):
        pass


def test_a_tflite_file_has_no_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_of_queries", None)
    with in_blocks(), for_tflite():
        ka.ContentAttention("dot")(QUERY, QUERY)
    with in_blocks(), pytest.raises(TypeError):
        ka.ContentAttention("dot")(QUERY, QUERY)


def test_bands_hold_the_keys_in_the_window():
    """By NumPy: every block of queries gets just the steps that its window may reach."""
    x = np.arange(1, 24, dtype="float32").reshape(1, 23, 1)
    for window, is_causal, first in ((4, False, 0), (4, True, 0), (9, False, 5), (3, True, 11)):
        rule = masks.rule(is_causal, window)
        query = np.zeros((1, 23 - first, 1), "float32")
        keys = Keys(None, None, rule=rule)
        walk = block_walk.Blocks(None, query, keys, first, None, None, [], 5)
        bands = walk._bands(ops.convert_to_tensor(x))
        stacked = to_numpy(bands.stack(bands.x))[:, 0, :, 0]
        assert len(stacked) == walk.count
        for number, band in enumerate(stacked):
            start = first + 5 * number - (window - 1)
            wanted = [s + 1 if 0 <= s < 23 else 0 for s in range(start, start + 5 + rule.halo)]
            np.testing.assert_array_equal(band, wanted)
            np.testing.assert_array_equal(to_numpy(bands.part(bands.x, number))[0, :, 0], wanted)


@needs_tensorflow
def test_blocks_of_a_window_share_one_mask():
    import tensorflow as tf

    layer = ka.SelfAttention(window=4)
    layer(QUERY)
    with in_blocks():
        traced = tf.function(lambda x: layer(x)).get_concrete_function(QUERY).graph.as_graph_def()
    distances = [node.op for node in traced.node].count("Abs")
    of_each_block = [n.op for f in traced.library.function for n in f.node_def]
    assert (distances, of_each_block.count("Abs"), of_each_block.count("Any")) == (1, 0, 0)
    assert "BatchMatMulV2" in of_each_block
