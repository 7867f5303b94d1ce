"""functional.average: the softmax average of blocks, by NumPy from its equation."""

import numpy as np
import pytest
from keras import ops

from keras_attention.functional.average import softmax_average, with_shared
from tests.backend import needs_tensorflow, to_numpy

RNG = np.random.default_rng(0)
SCORES = 3 * RNG.normal(size=(2, 7, 5)).astype("float32")
VALUE = RNG.normal(size=(2, 5, 4)).astype("float32")
UPSTREAM = RNG.normal(size=(2, 7, 4)).astype("float32")
# Each row has a step.
MASK = (RNG.random((2, 7, 5)) < 0.5) | (np.arange(5) == 2)


def by_numpy(mask, scores=SCORES):
    """Context and gradients by scores and value, in float64."""
    weights = np.exp(scores.astype("float64")) * (1 if mask is None else mask)
    weights /= weights.sum(-1, keepdims=True)
    context = weights @ VALUE
    by_weights = UPSTREAM @ VALUE.swapaxes(1, 2)
    by_scores = weights * (by_weights - (weights * by_weights).sum(-1, keepdims=True))
    return context, by_scores, weights.swapaxes(1, 2) @ UPSTREAM


@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "mask"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_is_the_average_by_the_softmax(mask, dtype):
    scores, value = (ops.convert_to_tensor(x.astype(dtype)) for x in (SCORES, VALUE))
    found = softmax_average(scores, value, mask)
    np.testing.assert_allclose(
        to_numpy(found), by_numpy(mask)[0], atol={"float32": 1e-6, "float16": 3e-3}[dtype]
    )


@needs_tensorflow
@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "mask"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("is_known", [False, True], ids=["", "context known"])
@pytest.mark.parametrize("batch", [2, None])
def test_its_gradient(mask, jit, is_known, batch):
    import tensorflow as tf

    expected, *gradients = by_numpy(mask)
    known = tf.constant(expected, "float32") if is_known else None
    specs = [tf.TensorSpec((batch, *x.shape[1:])) for x in (SCORES, VALUE)]

    @tf.function(jit_compile=jit, input_signature=specs)
    def differentiate(scores, value):
        with tf.GradientTape() as tape:
            tape.watch([scores, value])
            found = softmax_average(scores, value, mask, known)
        return found, *tape.gradient(found, [scores, value], tf.constant(UPSTREAM))

    for a, b in zip(differentiate(SCORES, VALUE), (expected, *gradients), strict=True):
        np.testing.assert_allclose(to_numpy(a), b, atol=2e-6)


@needs_tensorflow
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_large_scores_neither_overflow_nor_vanish(jit):
    import tensorflow as tf

    scores = 1e4 * SCORES
    found = tf.function(softmax_average, jit_compile=jit)(tf.constant(scores), tf.constant(VALUE))
    best = VALUE[np.arange(2)[:, None], scores.argmax(-1)]
    np.testing.assert_allclose(to_numpy(found), best, atol=1e-6)


def test_rows_of_a_group_share_what_has_one():
    rows = RNG.normal(size=(2, 3, 7, 5)).astype("float32")
    shared = RNG.normal(size=(2, 1, 5, 4)).astype("float32")
    found = with_shared(ops.matmul, ops.convert_to_tensor(rows), ops.convert_to_tensor(shared))
    np.testing.assert_allclose(to_numpy(found), rows @ shared, atol=1e-5)
