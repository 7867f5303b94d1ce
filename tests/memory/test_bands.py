"""Windows: blocks of queries over the keys near them, and over the keys that all see."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.functional.normalize import softmax
from keras_attention.memory.parts import Bands
from tests.backend import needs_tensorflow, run, to_numpy
from tests.memory.comparison import (
    CAUSAL,
    CROSS,
    QUERY,
    QUERY_MASK,
    RNG,
    SELF,
    check_numbers_and_gradients,
    check_unknown_lengths,
    in_blocks,
)

CASES_OF_CROSS = {
    "additive, causal": (lambda: ka.ContentAttention("additive", window=4), CAUSAL),
    "location": (lambda: ka.ContentAttention(ka.LocationScore(18), window=3), {}),
}
CASES_OF_SELF = {
    "global": (lambda: ka.MultiHeadAttention(4, 2, window=5, num_global=3), {}),
    "global, causal, in groups": (
        lambda: ka.MultiHeadAttention(
            4, 2, 3, num_key_value_heads=2, position=ka.ALiBiScore(), window=7, num_global=2
        ),
        CAUSAL,
    ),
    "distances": (
        lambda: ka.ContentAttention(ka.ScaledDotScore() + ka.RelativePositionScore(4), window=9),
        CAUSAL,
    ),
    "of most keys": (lambda: ka.MultiHeadAttention(4, 2, window=9), {}),
    "rotary": (
        lambda: ka.MultiHeadAttention(4, 2, position=ka.RotaryPositionEmbedding(), window=6),
        {},
    ),
}
PAIRS = RNG.random((24, 24)) < 0.7  # a mask as large as the scores: no band saves anything
CASES = {
    **{name: (*case, CROSS) for name, case in CASES_OF_CROSS.items()},
    **{name: (*case, SELF) for name, case in CASES_OF_SELF.items()},
    "pairs": (*CASES_OF_SELF["global"], {**SELF, "attention_mask": PAIRS}),
}


@pytest.mark.parametrize(("make", "flags", "given"), CASES.values(), ids=CASES)
def test_numbers_and_gradients_of_the_whole(make, flags, given):
    check_numbers_and_gradients(make, flags, given)


@needs_tensorflow
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_lengths_that_are_unknown_until_run_time(jit):
    check_unknown_lengths(*CASES["global, causal, in groups"], jit=jit)


@needs_tensorflow
@pytest.mark.parametrize("steps", [24, 11], ids=["more queries", "fewer queries"])
def test_unknown_lengths_of_query_and_value(steps):
    """Of 18 keys the first window begins before the first key, or after it."""
    of_queries = {name: CROSS[name][:, :steps] for name in ("query", "query_mask")}
    check_unknown_lengths(*CASES_OF_CROSS["additive, causal"], {**CROSS, **of_queries})


@pytest.mark.parametrize(("is_causal", "start"), [(False, 0), (True, 0), (False, 5), (True, 11)])
def test_a_block_meets_the_keys_in_its_window_and_no_others(is_causal, start):
    """Values that no window of a block reaches are NaN, which a weight of 0 would not hide."""
    length, rows, rule = 40, 5, masks.rule(is_causal, 4)
    met = []

    def score(query, key, start):
        met.append((query.shape[-2], key.shape[-2]))
        return ops.zeros((1, query.shape[-2], key.shape[-2]))

    steps = Steps(score, lambda scores, mask, seed: softmax(scores, mask))
    value = np.arange(length, dtype="float32")[None, :, None]
    query = np.zeros((1, length - start, 1), "float32")
    attention = Attention(steps, query, Keys(value, value, rule=rule), start=start)
    with ka.query_blocks(threshold=0, rows=rows):
        context, _ = attend(attention, return_weights=False)
    assert set(met) == {(rows, rows + rule.halo)}
    at = np.arange(start, length)
    means = [
        np.mean(range(max(t - 3, 0), min(t + (0 if is_causal else 3), length - 1) + 1)) for t in at
    ]
    np.testing.assert_allclose(to_numpy(context)[0, :, 0], means, rtol=1e-5)


@pytest.mark.parametrize(("rows", "halo"), [(5, 6), (5, 3), (4, 8)])
def test_parts_of_bands_one_by_one_and_stacked(rows, halo):
    count = 3
    x = np.arange(2 * (count + -(-halo // rows)) * rows, dtype="float32").reshape(2, -1, 1)
    bands = Bands(ops.convert_to_tensor(x), count, rows, halo)
    stacked = to_numpy(bands.stack(bands.x))
    assert stacked.shape == (count, 2, rows + halo, 1)
    for number in range(count):
        expected = x[:, number * rows : (number + 1) * rows + halo]
        np.testing.assert_array_equal(stacked[number], expected)
        np.testing.assert_array_equal(to_numpy(bands.part(bands.x, number)), expected)


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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_finite(dtype):
    layer = ka.MultiHeadAttention(4, 2, window=5, dtype=dtype)
    layer(QUERY, QUERY)
    with in_blocks():
        context, weights, inputs = run(
            layer, {"query": 1e3 * QUERY, "value": QUERY, "value_mask": QUERY_MASK}
        )
    for x in keras.tree.flatten((context, weights, inputs)):
        assert np.isfinite(x.astype("float32")).all()
