"""The loop over time."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.recurrent.time_loop import hold, time_loop
from tests.backend import call, needs_tensorflow, run, to_numpy, twice

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


def test_a_step_may_fill_the_dicts_of_its_state_in_another_order():
    def step(x, state):
        inner = state["inner"]
        return x, {"inner": {"sum": inner["sum"] + x, "last": x, "first": inner["first"]}}

    first = {"inner": {"first": X[:, 0], "last": X[:, 0], "sum": ops.zeros_like(X[:, 0])}}
    _, last = time_loop(step, X, first)
    expected = {"first": X[:, 0], "last": X[:, -1], "sum": X.sum(axis=1)}
    for name, array in expected.items():
        np.testing.assert_allclose(last["inner"][name], array, rtol=1e-5, atol=1e-6)


def test_hold_keeps_masked_rows():
    new, old = (
        {"a": np.ones((2, 3)), "b": [np.ones(2)]},
        {"a": np.zeros((2, 3)), "b": [np.zeros(2)]},
    )
    kept = to_numpy(hold(np.array([True, False]), new, old))
    np.testing.assert_array_equal(kept["a"], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(kept["b"][0], [1, 0])
    assert hold(None, new, old) is new


def test_hold_rejects_a_mask_of_floats():
    with pytest.raises(ValueError, match=r"`mask` must be boolean.*mask.dtype=float64"):
        hold(np.array([0.0, -1e9]), np.ones((2, 3)), np.zeros((2, 3)))


ONES = np.ones((2, 3, 4), "float32")
FEW = [(X, ONES), (X, ONES[:, :0]), (X[:0], ONES[:0]), (X[:, :0], ONES)]


@both
@pytest.mark.parametrize("how", ["eager", "graph", "XLA"])
def test_rows_without_numbers_and_no_rows_at_all(training, how):
    """Weights `(B, T, S)` of a memory without steps, known or not before it runs."""

    class Widths(keras.layers.Layer):
        def call(self, x, memory):
            def step(x, state):
                return (state + x, ops.matmul(memory, x[..., None])[..., 0]), state + x

            state = ops.zeros((ops.shape(x)[0], x.shape[-1]))
            (sums, widths), last = time_loop(step, x, state, training=training)
            return sums, widths, last

    layer = Widths()
    for x, memory in FEW:
        tensors = {"x": x, "memory": memory}
        if how == "eager":
            got = to_numpy(layer(**tensors))
        else:
            got = call(layer, tensors, jit=how == "XLA", use_graph=True)
        sums = np.cumsum(x, axis=1)
        widths = np.einsum("bsd,btd->bts", memory, x)
        last = sums[:, -1] if x.shape[1] else np.zeros((len(x), 4))
        for a, b in zip(got, (sums, widths, last), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@needs_tensorflow
@both
@pytest.mark.parametrize("jit", [False, True])
def test_sizes_of_0_that_only_the_run_knows(training, jit):
    import tensorflow as tf

    layer = Loop()
    layer(X)

    def first(x, memory):
        def step(x, state):
            return ops.matmul(memory, x[..., None])[..., 0], state

        return time_loop(step, x, {}, training=training)[0]

    signature = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None, 4))]
    function = tf.function(first, input_signature=signature, jit_compile=jit)
    for x, memory in FEW:
        expected = np.einsum("bsd,btd->bts", memory, x)
        got = to_numpy(function(x, memory))
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@both
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_gradient_has_a_gradient(training, jit, reverse):
    layer = Loop(reverse)
    layer(X)
    layer.call = functools.partial(layer.call, training=training)
    first, second = twice(layer, {"x": X}, jit)
    rng = np.random.default_rng(5)
    direction, bump = rng.normal(size=X.shape), 1e-4
    rows = np.random.default_rng(0).normal(size=X.shape).astype("float32").astype("float64")
    kernel = layer.get_weights()[0].astype("float64")

    def squares(x):
        return np.sum(_gradient(x, kernel, reverse, rows) ** 2)

    x = X.astype("float64")
    np.testing.assert_allclose(
        first["x"], _gradient(x, kernel, reverse, rows), rtol=1e-4, atol=1e-4
    )
    slope = (squares(x + bump * direction) - squares(x - bump * direction)) / (2 * bump)
    np.testing.assert_allclose(np.sum(second["x"] * direction), slope, rtol=1e-3)


def _gradient(x, kernel, reverse, rows):
    """By the inputs, of the sum of rows * hidden: back through time, in NumPy."""
    hidden = _loops(x, kernel, reverse)[0]
    steps = list(reversed(range(x.shape[1])) if reverse else range(x.shape[1]))
    of_x, later = np.zeros_like(x), np.zeros_like(x[:, 0])
    for t in reversed(steps):
        of_x[:, t] = (rows[:, t] + later) * (1 - hidden[:, t] ** 2)
        later = of_x[:, t] @ kernel.T
    return of_x


def test_rejects_inputs_of_different_lengths():
    with pytest.raises(ValueError, match=r"same length.*lengths=\[5, 3\]"):
        time_loop(lambda x, state: (x, state), (X, X[:, :3]), {})


def test_rejects_no_inputs():
    with pytest.raises(ValueError, match="`inputs` must hold a tensor.*None"):
        time_loop(lambda x, state: (x, state), None, {})


def test_rejects_a_state_that_changes():
    with pytest.raises(ValueError, match=r"float32 \(2, 4\) before the step.*\(2, 8\) after"):
        time_loop(lambda x, state: (x, ops.concatenate([state, state], -1)), X, ops.zeros((2, 4)))
