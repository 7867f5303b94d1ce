"""When attention is computed in blocks, and in which: as the scores and normalizers see it."""

import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.functional.normalize import softmax
from keras_attention.memory import policy
from keras_attention.target import for_tflite
from tests.backend import needs_tensorflow, to_numpy
from tests.memory.comparison import (
    CAUSAL,
    CROSS,
    QUERY,
    RNG,
    VALUE,
    check_numbers_and_gradients,
    check_unknown_lengths,
    close,
)


def rows_seen(x, **sizes):
    """The numbers of queries that a normalizer is called with at once."""
    rows = set()

    def normalizer(scores, mask=None):
        rows.add(scores.shape[-2])
        return softmax(scores, mask)

    layer = ka.ContentAttention(ka.AdditiveScore(1), normalizer)
    with ka.query_blocks(**sizes):
        layer(x, x)
    return rows


X = np.ones((1, 70, 4), "float32")


def test_the_innermost_sizes_count():
    with ka.query_blocks(threshold=0, rows=10):
        assert rows_seen(X, threshold=None) == {70}
        assert rows_seen(X, threshold=0, rows=35) == {35}
    assert rows_seen(X) == {70}


def test_blocks_begin_at_the_threshold():
    size = 4 * 70 * 70  # the bytes of all scores
    assert rows_seen(X, threshold=size + 1, rows=10) == {70}
    assert rows_seen(X, threshold=size, rows=10) == {10}


def test_large_scores_are_computed_in_blocks_by_default():
    """Scores of 512 steps and of 4,096: 1 MiB and 64 MiB."""
    for steps, is_whole in ((512, True), (4096, False)):
        rows = rows_seen(np.ones((1, steps, 1), "float32"))
        assert (rows == {steps}) == is_whole


def test_blocks_have_about_the_same_size():
    assert rows_seen(X, threshold=0, block=4 * 70 * 30) == {24}  # not 30, 30 and 10


def test_few_queries_are_one_block():
    assert rows_seen(X[:, :16], threshold=0, block=1) == {16}
    assert rows_seen(X[:, :17], threshold=0, block=1) == {9}


def test_a_tflite_file_has_no_blocks():
    with for_tflite():
        assert rows_seen(X, threshold=0, rows=10) == {70}


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_rejects_blocks_of_no_query(bad):
    with (
        pytest.raises(ValueError, match="`rows` must be a positive integer"),
        ka.query_blocks(rows=bad),
    ):
        pass


@needs_tensorflow
@pytest.mark.parametrize("jit", [False, True])
def test_a_block_has_some_rows_and_under_xla_twice_as_many(jit):
    """At least two queries, or four, for each of twelve features of a value."""
    import tensorflow as tf

    lengths = []

    def score(query, key, start):
        lengths.append(query.shape[-2])
        return ops.matmul(query, ops.swapaxes(key, -2, -1))

    def attention(x):
        return Attention(
            Steps(score, lambda scores, mask, seed: ops.softmax(scores)), x, Keys(x, x)
        )

    def context(x):
        with ka.query_blocks(threshold=0, block=1):
            return attend(attention(x), return_weights=False)[0]

    x = RNG.normal(size=(1, 192, 12)).astype("float32")
    found = tf.function(context, jit_compile=jit)(x)
    assert lengths == [48 if jit else 24]
    close(to_numpy(found), to_numpy(attend(attention(x))[0]))


@needs_tensorflow
def test_a_block_of_one_head_is_smaller():
    x = np.ones((1, 200, 4), "float32")
    attention = Attention(Steps(None, None), x, Keys(x, x))
    with ka.query_blocks(block=4 * 200 * 128):
        assert policy.rows_of_block(attention, by_head=False) == 128
        assert policy.rows_of_block(attention, by_head=True) == 32


def test_a_condition_that_is_known_to_be_false_needs_no_branch():
    def large(tensors, seed):
        raise AssertionError("the branch for large sizes")

    assert policy.if_large([2**40], large, lambda x, seed: x, X, condition=False) is X


# Near keys are copied for each query, where that is less than its scores: few features.
NARROW = {**CROSS, "query": QUERY[..., :2], "value": VALUE[..., :2]}
LOCAL = {
    "predictive": (lambda: ka.LocalAttention(1), {}),
    "predictive, causal": (lambda: ka.LocalAttention(1, "bilinear"), CAUSAL),
    "monotonic": (lambda: ka.LocalAttention(1, "additive", center="monotonic"), CAUSAL),
}


@pytest.mark.parametrize(("make", "flags"), LOCAL.values(), ids=LOCAL)
def test_local_attention_to_near_keys_where_the_scores_are_large(make, flags):
    check_numbers_and_gradients(make, flags, NARROW)


@needs_tensorflow
@pytest.mark.parametrize(("name", "jit"), [("predictive", False), ("monotonic", True)])
def test_branches_where_lengths_are_unknown_until_run_time(name, jit):
    check_unknown_lengths(*LOCAL[name], NARROW, jit)
