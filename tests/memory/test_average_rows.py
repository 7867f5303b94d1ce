"""The average of blocks on TensorFlow, by NumPy from its equation."""

import numpy as np
import pytest
from keras import ops

from keras_attention.memory.loops_tensorflow import average_rows
from tests.backend import needs_tensorflow, to_numpy

pytestmark = needs_tensorflow
RNG = np.random.default_rng(0)
SCORES = 3 * RNG.normal(size=(2, 7, 5)).astype("float32")
VALUE = RNG.normal(size=(2, 5, 4)).astype("float32")
UPSTREAM = RNG.normal(size=(2, 7, 4)).astype("float32")
# Each row has a step.
MASK = (RNG.random((2, 7, 5)) < 0.5) | (np.arange(5) == 2)
MASKS = {"no mask": None, "mask": MASK}


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
    found = average_rows(scores, value, mask)
    np.testing.assert_allclose(
        to_numpy(found), by_numpy(mask)[0], atol={"float32": 1e-6, "float16": 3e-3}[dtype]
    )


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("batch", [2, None])
def test_its_gradient(jit, batch):
    """With a mask and without, computed and known already, in one function."""
    import tensorflow as tf

    expected = {name: by_numpy(mask) for name, mask in MASKS.items()}
    specs = [tf.TensorSpec((batch, *x.shape[1:])) for x in (SCORES, VALUE)]

    @tf.function(jit_compile=jit, input_signature=specs)
    def differentiate(scores, value):
        results = {}
        for name, mask in MASKS.items():
            for known in (None, tf.constant(expected[name][0], "float32")):
                with tf.GradientTape() as tape:
                    tape.watch([scores, value])
                    found = average_rows(scores, value, mask, known)
                gradients = tape.gradient(found, [scores, value], tf.constant(UPSTREAM))
                results[name, known is None] = [found, *gradients]
        return results

    for (name, _), found in differentiate(SCORES, VALUE).items():
        for a, b in zip(found, expected[name], strict=True):
            np.testing.assert_allclose(to_numpy(a), b, atol=2e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_large_scores_neither_overflow_nor_vanish(jit):
    import tensorflow as tf

    scores = 1e4 * SCORES
    found = tf.function(average_rows, jit_compile=jit)(tf.constant(scores), tf.constant(VALUE))
    best = VALUE[np.arange(2)[:, None], scores.argmax(-1)]
    np.testing.assert_allclose(to_numpy(found), best, atol=1e-6)


def test_a_value_that_turns_out_to_be_one_for_the_whole_batch_gets_the_sum_of_gradients():
    import tensorflow as tf

    specs = [tf.TensorSpec((None, *x.shape[1:])) for x in (SCORES, VALUE)]

    @tf.function(input_signature=specs)
    def differentiate(scores, value):
        with tf.GradientTape() as tape:
            tape.watch(value)
            found = average_rows(scores, value)
        return tape.gradient(found, value, tf.constant(UPSTREAM))

    weights = np.exp(SCORES) / np.exp(SCORES).sum(-1, keepdims=True)
    expected = (weights.swapaxes(1, 2) @ UPSTREAM).sum(0, keepdims=True)
    np.testing.assert_allclose(differentiate(SCORES, VALUE[:1]), expected, atol=2e-6)
