"""LocationAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "softmax": Case(
            lambda **kw: ka.LocationAttention(10, **kw),
            tensors={"query": "BTD", "value": "BSE"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value"},
            attention_mask="BTS",
            is_causal=True,
        ),
    }


def test_equation_8_of_luong_2015_location():
    rng = np.random.default_rng(0)
    h_t, h_s = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    layer = ka.LocationAttention(max_length=7)
    c_t, a_t = to_numpy(layer(h_t, h_s, return_attention_scores=True))
    (w_a,) = (w.astype("float64") for w in layer.get_weights())
    assert w_a.shape == (4, 7)
    for b in range(2):
        for t in range(3):
            e = np.exp(w_a.T @ h_t[b, t])[:5]  # "we only use the top part"
            np.testing.assert_allclose(a_t[b, t], e / e.sum(), rtol=1e-4)
            expected = sum(a * h for a, h in zip(e / e.sum(), h_s[b], strict=True))
            np.testing.assert_allclose(c_t[b, t], expected, rtol=1e-4, atol=1e-5)


def test_the_weights_do_not_depend_on_what_the_values_hold():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(1, 3, 4)), rng.normal(size=(2, 1, 5, 6))
    layer = ka.LocationAttention(5)
    one, other = (layer(query, v, return_attention_scores=True)[1] for v in value)
    np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_learns_to_look_at_the_step_that_the_query_names():
    rng = np.random.default_rng(0)
    place = rng.integers(0, 6, size=(256, 3))
    query, value = np.eye(6, dtype="float32")[place], rng.normal(size=(256, 6, 4))
    target = np.take_along_axis(value, place[..., None], axis=1)
    inputs = keras.Input((None, 6)), keras.Input((None, 4))
    context, weights = ka.LocationAttention(6)(*inputs, return_attention_scores=True)
    model, maps = keras.Model(inputs, context), keras.Model(inputs, weights)
    model.compile(keras.optimizers.Adam(0.3), "mse")
    model.fit([query, value], target, epochs=20, batch_size=64, verbose=0)
    found = to_numpy(maps([query, value])).argmax(-1)
    np.testing.assert_array_equal(found, place)


def test_rejects_more_steps_than_max_length():
    match = r"max_length=4 steps. Received: 5 steps in key_shape=\(2, 5, 6\), query_shape=\(2, 3, 4"
    with pytest.raises(ValueError, match=match):
        ka.LocationAttention(4)(np.ones((2, 3, 4)), np.ones((2, 5, 6)))
    layer = ka.LocationAttention(4)
    layer(np.ones((2, 3, 4)), np.ones((2, 4, 6)))
    with pytest.raises(ValueError, match=match):  # also where it is built already
        layer(np.ones((2, 3, 4)), np.ones((2, 5, 6)))


@needs_tensorflow
@pytest.mark.parametrize("max_length", [1, 4])
@pytest.mark.parametrize("jit", [False, True])
def test_a_length_that_only_the_run_knows_stops_it(max_length, jit):
    import tensorflow as tf

    layer = ka.LocationAttention(max_length)
    value = tf.TensorSpec((2, None, 6))
    call = tf.function(layer, input_signature=[tf.TensorSpec((2, 3, 4)), value], jit_compile=jit)
    query = np.ones((2, 3, 4), "float32")
    assert call(query, np.ones((2, max_length, 6), "float32")).shape == (2, 3, 6)
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)):
        call(query, np.ones((2, 5, 6), "float32"))


def test_rejects_bad_max_length():
    with pytest.raises(ValueError, match="`max_length` must be a positive integer.*max_length=0"):
        ka.LocationAttention(0)
