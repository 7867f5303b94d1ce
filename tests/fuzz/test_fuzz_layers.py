"""Layers with random options, masks and inputs against the equations in plain NumPy."""

import contextlib
import dataclasses

import keras
import numpy as np
from hypothesis import note
from hypothesis import strategies as st

import keras_attention as ka
from tests.backend import BACKEND, run, to_numpy
from tests.fuzz.cases import cases
from tests.fuzz.strategies import calls

# Compiling takes a second a case, where other ways take hundredths.
WAYS = {
    "tensorflow": ["eager"] * 12 + ["graph"] * 3 + ["unknown lengths"] * 3 + ["xla"],
    "jax": ["xla"] * 5 + ["eager"],
    "torch": ["eager"],
}[BACKEND]


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a call is computed, and the arguments of `ka.query_blocks`, or `None`."""

    way: str = "eager"
    blocks: dict | None = None

    def sizes(self):
        return contextlib.nullcontext() if self.blocks is None else ka.query_blocks(**self.blocks)


@st.composite
def executions(draw):
    way = draw(st.sampled_from(WAYS))
    in_blocks = {"threshold": 0, "block": 1, "rows": draw(st.sampled_from([1, 2, 3, None]))}
    return Execution(way, draw(st.sampled_from([None, {"threshold": None}, in_blocks, in_blocks])))


def perform(call, how, **kwargs):
    """The outputs, the gradients of weights, and those of inputs by name; `None` without."""
    layer, tensors = call.layer, call.tensors()
    kwargs |= call.flags()
    with how.sizes():
        if how.way in ("eager", "xla"):
            return run(layer, tensors, jit=how.way == "xla", **kwargs)
        import tensorflow as tf

        tensors = {name: tf.constant(x) for name, x in tensors.items()}
        function = tf.function(lambda tensors: layer(**tensors, **kwargs))
        if how.way == "unknown lengths":
            signature = {k: tf.TensorSpec(_unknown(k, x), x.dtype) for k, x in tensors.items()}
            function = tf.function(function.python_function, input_signature=[signature])
        return to_numpy(function(tensors)), None, None


def _unknown(name, x):
    """Sizes of features stay known, and axes of masks that broadcast (which tracing has to see)."""
    if name.endswith("mask"):
        return [1 if size == 1 else None for size in x.shape]
    return [*[None] * (x.ndim - 1), x.shape[-1]]


def assert_close(actual, expected, tolerance, is_sure=None):
    actual = actual.astype("float64")
    assert actual.shape == expected.shape
    if is_sure is not None:
        actual, expected = actual[is_sure], expected[is_sure]
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def assert_gradients(call, how, of_weights, of_inputs):
    """Finite, zero for hidden steps, and the slope of the oracle along a random direction."""
    for gradient in [*of_weights, *of_inputs.values()]:
        assert np.isfinite(gradient.astype("float64")).all()
    for name, hidden in call.hidden().items():
        if name in of_inputs:
            np.testing.assert_array_equal(of_inputs[name][hidden].astype("float64"), 0)
    answer = call.answer()
    is_exact = call.policy in ("float32", "float64") and "float16" not in call.dtypes.values()
    if not is_exact or call.options["normalizer"] == "hard" or not answer.is_sure.all():
        return  # straight-through, or a jump
    rng = np.random.default_rng(call.seed + 2)
    projection = np.random.default_rng(0).normal(size=answer.output.size).astype("float32")
    along = {name: rng.normal(size=call.shapes[name]) for name in of_inputs}
    along_weights = {id(w): rng.normal(size=w.shape) for w in call.layer.trainable_weights}
    start, start_weights = call.tensors(dirty=False), call.values()
    if call.policy == "float32":
        start = {k: np.float64(np.float32(x)) for k, x in start.items()}

    def loss(step):
        tensors = {name: start[name] + step * u for name, u in along.items()}
        values = start_weights | {k: start_weights[k] + step * u for k, u in along_weights.items()}
        return np.sum(call.answer(tensors, values).output.ravel() * projection)

    step = 1e-6
    here, after, before = loss(0.0), loss(step), loss(-step)
    expected = (after - before) / (2 * step)
    parts = [(of_inputs[name], u) for name, u in along.items()]
    parts += zip(of_weights, along_weights.values(), strict=True)
    products = [gradient.astype("float64") * u for gradient, u in parts]
    scale = 1 + sum(np.abs(product).sum() for product in products)
    if abs(after - 2 * here + before) / step > 1e-4 * scale:
        return  # a kink lies right here
    note(f"slope of the equations {expected}, of the layer {sum(p.sum() for p in products)}")
    tolerance = 1e-5 if call.policy == "float64" else 1e-3
    assert abs(sum(p.sum() for p in products) - expected) <= tolerance * scale


@cases(0.45, call=calls(), how=executions(), with_weights=st.booleans())
def test_layers_compute_their_equations(call, how, with_weights):
    call.make()
    answer = call.answer()
    outputs, of_weights, of_inputs = perform(call, how, return_attention_scores=with_weights)
    output, weights = outputs if with_weights else (outputs, None)
    is_sure = answer.is_sure
    if answer.output.ndim < 3 and call.kind == "pooling":
        is_sure = is_sure[:, 0]
    assert keras.backend.standardize_dtype(output.dtype) == call.compute_dtype
    assert_close(output, answer.output, call.tolerance, is_sure)
    if with_weights:
        rows = is_sure
        if call.kind == "multi_head":
            rows = np.broadcast_to(is_sure[:, None], weights.shape[:-1])
        assert_close(weights, answer.weights, call.tolerance, rows)
    if of_weights is not None:
        assert_gradients(call, how, of_weights, of_inputs)
