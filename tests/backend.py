"""The few things that tests need and that each Keras backend does in its own way."""

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
HAS_XLA = BACKEND != "torch"  # which runs eagerly; `torch.compile` is not tested
needs_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="SavedModel and TFLite are written by TensorFlow"
)
# For what Keras has no part in, which runs once.
of_no_backend = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="the same on every backend: run on TensorFlow"
)


def to_numpy(structure):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, structure)


def call(layer, tensors, jit, use_graph=False):
    """The outputs of the layer alone; `use_graph` for TensorFlow's graph where XLA is not asked.

    PyTorch runs eagerly in any case, here and below: it is what `fit` does there.
    """
    if BACKEND == "torch" or (not jit and not (use_graph and BACKEND == "tensorflow")):
        return to_numpy(layer(**tensors))
    if BACKEND == "jax":
        import jax

        return to_numpy(jax.jit(lambda tensors: layer(**tensors))(tensors))
    import tensorflow as tf

    tensors = {name: tf.constant(x) for name, x in tensors.items()}
    return to_numpy(tf.function(lambda tensors: layer(**tensors), jit_compile=jit)(tensors))


def run(layer, tensors, jit=None, **kwargs):
    """Calls the layer and differentiates a fixed random projection of its first output.

    Args:
        layer: A built layer.
        tensors: Dict from argument name to array; float arrays are differentiated too.
        jit: Whether to compile all of it by XLA. By default as the backend's users train: JAX
            compiles, which for single operations one by one would take several times as long.
        kwargs: Passed on to the layer.

    Returns:
        The outputs, the gradients of the trainable weights and those of the float tensors.
    """
    if jit is None:
        jit = BACKEND == "jax"
    floats = {k: v for k, v in tensors.items() if np.issubdtype(v.dtype, np.floating)}
    others = {k: v for k, v in tensors.items() if k not in floats}

    def loss(outputs):
        first = keras.tree.flatten(outputs)[0]
        first = keras.ops.cast(first, "float32")
        size = int(np.prod(first.shape))
        weights = np.random.default_rng(0).normal(size=size).reshape(first.shape)
        return keras.ops.sum(first * keras.ops.convert_to_tensor(weights, "float32"))

    run_here = {"tensorflow": _run_tensorflow, "jax": _run_jax, "torch": _run_torch}[BACKEND]
    return to_numpy(run_here(layer, floats, others, loss, jit, kwargs))


def twice(layer, tensors, jit):
    """`twice_of(layer, jit)(tensors)`."""
    return twice_of(layer, jit)(tensors)


def twice_of(layer, jit):
    """A function, compiled once, of the tensors of a call, a dict, to two dicts of arrays.

    The gradient by the tensors of a fixed random projection of the layer's first output, and the
    gradient of the sum of that gradient's squares.
    """

    def loss(tensors):
        first = keras.tree.flatten(layer(**tensors))[0]
        weights = np.random.default_rng(0).normal(size=first.shape)
        return keras.ops.sum(first * keras.ops.convert_to_tensor(weights, "float32"))

    if BACKEND == "jax":
        import jax

        def squares(tensors):
            gradient = jax.grad(loss)(tensors)
            return sum(keras.ops.sum(x**2) for x in gradient.values()), gradient

        step = jax.grad(squares, has_aux=True)
        step = jax.jit(step) if jit else step
        return lambda tensors: to_numpy(step(tensors)[::-1])
    if BACKEND == "torch":

        def step_torch(arrays):
            tensors = _leaves(arrays)
            first = _gradients(loss(tensors), list(tensors.values()), create_graph=True)
            squares = sum(keras.ops.sum(x**2) for x in first)
            second = _gradients(squares, list(tensors.values()))
            return tuple(dict(zip(tensors, x, strict=True)) for x in (first, second))

        return lambda tensors: to_numpy(step_torch(tensors))
    import tensorflow as tf

    def step(tensors):
        with tf.GradientTape() as outer:
            outer.watch(tensors)
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                value = loss(tensors)
            first = inner.gradient(value, tensors, unconnected_gradients="zero")
            squares = sum(tf.reduce_sum(x**2) for x in first.values())
        return first, outer.gradient(squares, tensors, unconnected_gradients="zero")

    step = tf.function(step, jit_compile=True) if jit else step
    return lambda tensors: to_numpy(step({name: tf.constant(x) for name, x in tensors.items()}))


def _run_tensorflow(layer, floats, others, loss, jit, kwargs):
    import tensorflow as tf

    def step(floats, others):
        with tf.GradientTape() as tape:
            tape.watch(floats)
            outputs = layer(**floats, **others, **kwargs)
            value = loss(outputs)
        weights = [w.value for w in layer.trainable_weights]
        gradients = tape.gradient(
            value, (weights, floats), unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return outputs, *gradients

    floats = {k: tf.constant(v) for k, v in floats.items()}
    others = {k: tf.constant(v) for k, v in others.items()}
    return tf.function(step, jit_compile=True)(floats, others) if jit else step(floats, others)


def _run_jax(layer, floats, others, loss, jit, kwargs):
    import jax

    def value(trainable, floats, others):
        # Not `stateless_call`: it goes straight to `call`, past casts to the compute dtype.
        pairs = zip(layer.trainable_variables, trainable, strict=True)
        with keras.StatelessScope(state_mapping=list(pairs)):
            outputs = layer(**floats, **others, **kwargs)
        return loss(outputs), outputs

    def step(trainable, floats, others):
        differentiate = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)
        (_, outputs), (weights, inputs) = differentiate(trainable, floats, others)
        return outputs, weights, inputs

    trainable = [v.value for v in layer.trainable_variables]
    return (jax.jit(step) if jit else step)(trainable, floats, others)


def _run_torch(layer, floats, others, loss, jit, kwargs):
    floats = _leaves(floats)
    outputs = layer(**floats, **others, **kwargs)
    weights = [w.value for w in layer.trainable_weights]
    gradients = _gradients(loss(outputs), [*weights, *floats.values()])
    of_inputs = dict(zip(floats, gradients[len(weights) :], strict=True))
    return outputs, gradients[: len(weights)], of_inputs


def _leaves(arrays):
    """Tensors that PyTorch differentiates by."""
    return {k: keras.ops.convert_to_tensor(x).requires_grad_() for k, x in arrays.items()}


def _gradients(value, tensors, create_graph=False):
    """The gradients of a number, zeros where it does not depend on a tensor."""
    import torch

    if not value.requires_grad:
        return [torch.zeros_like(x) for x in tensors]
    return list(
        torch.autograd.grad(
            value, tensors, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
    )
