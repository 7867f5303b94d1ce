"""The loop over time."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.recurrent.time_loop import hold, time_loop
from tests.backend import run, to_numpy

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")


class Loop(keras.layers.Layer):
    """A recurrence with a weight, and integers, a structure and a `None` on the way."""

    def __init__(self, reverse=False, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.reverse, self.rate = reverse, rate
        self.seeds = keras.random.SeedGenerator(3)

    def build(self, x_shape):
        self.kernel = self.add_weight(name="kernel", shape=(x_shape[-1], x_shape[-1]))

    def call(self, x, training=None):
        def step(inputs, state):
            hidden = ops.tanh(inputs["x"] + ops.matmul(state["h"], self.kernel))
            if training and self.rate:
                hidden = keras.random.dropout(hidden, self.rate, seed=self.seeds)
            outputs = {"h": hidden, "sign": ops.cast(hidden > 0, "int32") * state["count"][0]}
            return outputs, {"h": hidden, "count": (state["count"][0] + 1,)}

        batch = ops.shape(x)[0]
        state = {"h": ops.zeros((batch, x.shape[-1])), "count": (ops.ones((batch, 1), "int32"),)}
        layer = self if training else None
        inputs = {"x": x, "mask": None}
        outputs, last = time_loop(step, inputs, state, layer, self.reverse, bool(training))
        return outputs["h"], outputs["sign"], last["h"], last["count"][0]

    def compute_output_spec(self, *args, **kwargs):
        return keras.Operation.compute_output_spec(self, *args, **kwargs)


def _loops(x, kernel, reverse):
    hidden, h = np.zeros_like(x), np.zeros_like(x[:, 0])
    sign = np.zeros(x.shape, "int32")
    for n, t in enumerate(reversed(range(x.shape[1])) if reverse else range(x.shape[1])):
        h = np.tanh(x[:, t] + h @ kernel)
        hidden[:, t], sign[:, t] = h, (h > 0) * (n + 1)
    return hidden, sign, h, np.full((len(x), 1), x.shape[1] + 1)


both = pytest.mark.parametrize("training", [False, True])


@both
@pytest.mark.parametrize("reverse", [False, True])
def test_equals_a_loop_in_python(reverse, training):
    layer = Loop(reverse)
    got = to_numpy(layer(X, training=training))
    for array, expected in zip(got, _loops(X, layer.get_weights()[0], reverse), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)


@both
def test_xla_gives_the_eager_numbers_and_gradients(training):
    layer = Loop()
    layer(X)
    eager, compiled = (run(layer, {"x": X}, jit, training=training) for jit in (False, True))
    for a, b in zip(keras.tree.flatten(eager), keras.tree.flatten(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@both
def test_the_gradient_is_that_of_the_recurrence(training):
    layer = Loop()
    layer(X)
    _, _, gradients = run(layer, {"x": X}, training=training)
    rows = np.random.default_rng(0).normal(size=X.size).reshape(X.shape)
    kernel, bump = layer.get_weights()[0], 1e-4
    for t, d in ((0, 1), (2, 3), (4, 0)):
        sides = []
        for sign in (1, -1):
            x = X.astype("float64")
            x[1, t, d] += sign * bump
            sides.append((_loops(x, kernel.astype("float64"), False)[0] * rows).sum())
        expected = (sides[0] - sides[1]) / (2 * bump)
        np.testing.assert_allclose(gradients["x"][1, t, d], expected, rtol=1e-3, atol=1e-4)


@both
def test_one_graph_takes_every_length_and_none_at_all(training):
    inputs = keras.Input((None, 4))
    outputs = Loop()(inputs, training=training)
    assert outputs[0].shape == (None, None, 4) and outputs[2].shape == (None, 4)
    model = keras.Model(inputs, outputs)
    for length in (5, 2, 0):
        hidden, sign, last, _ = model(X[:, :length])
        assert hidden.shape == sign.shape == (2, length, 4)
    np.testing.assert_array_equal(last, np.zeros((2, 4)))


def test_steps_draw_new_numbers_and_the_seed_moves_on():
    layer = Loop(rate=0.5)
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layer(inputs, training=True)[0])  # traced before it runs
    first, second = (to_numpy(layer(X, training=True)[0]) for _ in range(2))
    dropped = first == 0
    assert 0.2 < dropped.mean() < 0.8
    assert not all(np.array_equal(dropped[:, 0], dropped[:, t]) for t in range(1, 5))
    assert not np.array_equal(first, second)
    assert (to_numpy(model(X)) == 0).any()


def test_hold_keeps_masked_rows():
    new, old = (
        {"a": np.ones((2, 3)), "b": [np.ones(2)]},
        {"a": np.zeros((2, 3)), "b": [np.zeros(2)]},
    )
    kept = to_numpy(hold(np.array([True, False]), new, old))
    np.testing.assert_array_equal(kept["a"], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(kept["b"][0], [1, 0])
    assert hold(None, new, old) is new


def test_rejects_inputs_of_different_lengths():
    with pytest.raises(ValueError, match=r"same length.*lengths=\[5, 3\]"):
        time_loop(lambda x, state: (x, state), (X, X[:, :3]), {})


def test_rejects_no_inputs():
    with pytest.raises(ValueError, match="`inputs` must hold a tensor.*None"):
        time_loop(lambda x, state: (x, state), None, {})


def test_rejects_a_state_that_changes():
    with pytest.raises(ValueError, match=r"float32 \(2, 4\) before the step.*\(2, 8\) after"):
        time_loop(lambda x, state: (x, ops.concatenate([state, state], -1)), X, ops.zeros((2, 4)))
