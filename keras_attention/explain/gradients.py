"""Gradients: which steps of the input the prediction is most sensitive to."""

import functools

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_attention import checks
from keras_attention.explain import probabilities
from keras_attention.explain.intercept import (
    UNREADABLE,
    find_layer,
    intercepted,
    paths_of_layers,
    wrappers_of,
)


def gradient_times_input(
    model: keras.layers.Layer,
    inputs: npt.ArrayLike,
    layer: str | None = None,
    output: str | None = None,
    target: npt.ArrayLike | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Gradient times input: how much the prediction would change with each step, to first order.

        attribution_s = sum_d x_sd dp(x) / dx_sd

    p is the probability of the target class, and x_s the vector of step s: of an embedding for
    integer ids, else the features themselves. Positive where a step speaks for the class, negative
    where it speaks against it. One gradient for each batch.

    Thread-safe: other threads may call the model or this function at the same time.

    Args:
        model: A built `keras.Model` or `keras.layers.Layer` of one array that returns probabilities
            `(B, C)`, or `(B,)` or `(B, 1)` of the second of two classes; or a dict with them.
        inputs: Array of ids `(B, S)`, of features `(B, S, D)`, or of images `(B, X, Y, C)`.
        layer: Name of a layer, or its path in the model if several have that name, whose outputs
            `(B, S, D)` are the vectors of the steps. `None` for the only `Embedding` layer if the
            inputs are integers, and for the inputs themselves if they are not.
        output: Key of the probabilities if the model returns a dict.
        target: Integers `(B,)`, a class for each example; `None` for the class that the model
            predicts.
        batch_size: Positive integer, the examples computed at a time.

    Returns:
        NumPy array of a number for each step, `(B, S)`, or `(B, X, Y)` for images. If the layer is
        called several times, the sum over the calls.

    Raises:
        ValueError: If there is no such layer, or its outputs differ in shape from call to call or
            are not vectors; if the model does not return probabilities; if `output`, `target` or
            `batch_size` does not fit.

    Example:
        >>> ids = keras.Input((None,), dtype="int32")
        >>> vectors = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
        >>> label = keras.layers.Dense(2, activation="softmax")(ka.AttentionPooling()(vectors))
        >>> model = keras.Model(ids, label)
        >>> ka.gradient_times_input(model, keras.ops.array([[5, 3, 8, 0]])).shape
        (1, 4)

    Reference:
        Shrikumar et al., 2017, section 2.2, https://arxiv.org/abs/1704.02685
        There the gradient is often that of a score before the softmax; here of the probability.
    """
    inputs = probabilities.checked_inputs(inputs)
    network = _Network(model, inputs, layer, output)
    return _attributions(network, inputs, target, [1.0], [1.0], None, batch_size)


def integrated_gradients(
    model: keras.layers.Layer,
    inputs: npt.ArrayLike,
    layer: str | None = None,
    output: str | None = None,
    target: npt.ArrayLike | None = None,
    num_steps: int = 32,
    baseline: npt.ArrayLike | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Integrated gradients: divides the prediction among the steps.

        attribution_s = sum_d (x_sd - x'_sd) mean_a dp(x' + a (x - x')) / dx_sd,  a from 0 to 1

    for a baseline x' that says nothing, such as zeros. Complete: the attributions of an example sum
    to p(x) - p(x'), but for the error of the mean over `num_steps` points; compare the two to see
    whether these are enough. Layer normalization of vectors near zero takes many, or a baseline
    that is not zero. The masks stay those of the whole input. `num_steps` gradients for each
    example, `batch_size` of them at a time.

    Thread-safe: other threads may call the model or this function at the same time.

    Args:
        model, inputs, layer, output, target: As in `gradient_times_input`.
        num_steps: Positive integer, the points between baseline and input.
        baseline: Array that broadcasts to the vectors of the steps, such as `(D,)`; `None` for
            zeros.
        batch_size: Positive integer, the examples or points computed at a time.

    Returns:
        NumPy array of a number for each step, `(B, S)`, or `(B, X, Y)` for images. If the layer is
        called several times, the sum over the calls.

    Raises:
        ValueError: As in `gradient_times_input`; also if `baseline` or `num_steps` does not fit.

    Example:
        >>> features = keras.Input((None, 4))
        >>> pooled = ka.AttentionPooling()(features)
        >>> model = keras.Model(features, keras.layers.Dense(1, activation="sigmoid")(pooled))
        >>> x = keras.random.normal((1, 5, 4))
        >>> attributions = ka.integrated_gradients(model, x, target=[1])
        >>> change = keras.ops.convert_to_numpy(model(x) - model(keras.ops.zeros_like(x)))
        >>> bool(abs(attributions.sum() - change.sum()) < 1e-4)
        True

    Reference:
        Sundararajan, Taly & Yan, 2017, eq. 1, https://arxiv.org/abs/1703.01365
        The paper's eq. 3 takes the mean over equidistant points; here the points and their weights
        are those of Gauss and Legendre, of which fewer are enough.
    """
    num_steps = checks.positive_integer("num_steps", num_steps)
    nodes, shares = np.polynomial.legendre.leggauss(num_steps)  # from -1 to 1
    inputs = probabilities.checked_inputs(inputs)
    network = _Network(model, inputs, layer, output)
    points = (nodes + 1) / 2, shares / 2
    return _attributions(network, inputs, target, *points, baseline, batch_size)


def _attributions(network, inputs, target, points, shares, baseline, batch_size):
    """`sum_d (x - x') sum_i share_i dp(x' + point_i (x - x')) / dx` for each step."""
    batch_size = checks.positive_integer("batch_size", batch_size)
    target = None if target is None else _checked_target(target, inputs)
    gradient = _gradient(network.model, network.probability)
    parts = []
    for start in range(0, len(inputs), batch_size):
        some = inputs[start : start + batch_size]
        values, predicted = network.run(some)  # (calls, B, ..., D) and (B, C)
        classes = predicted.argmax(axis=-1) if target is None else target[start:][: len(some)]
        if classes.max() >= predicted.shape[1]:
            raise ValueError(
                f"`target` must be less than the number of classes, {predicted.shape[1]}. "
                f"Received: target with {classes.max()}"
            )
        from_baseline = values - _baseline(baseline, values, start, len(inputs))
        mean = np.zeros(values.shape)
        rows, nodes = np.divmod(np.arange(len(some) * len(points)), len(points))
        for first in range(0, len(rows), batch_size):
            row, node = (x[first : first + batch_size] for x in (rows, nodes))
            back = _column(1 - np.asarray(points)[node], values.ndim - 1)
            point = (values[:, row] - back * from_baseline[:, row]).astype("float32")
            found = gradient(point, some[row], classes[row].astype("int32"))
            share = _column(np.asarray(shares)[node], values.ndim - 1)
            np.add.at(mean, (slice(None), row), share * found)
        parts.append((from_baseline * mean).sum(axis=(0, -1)))
    return np.concatenate(parts)


class _Network:
    """The model as a function of the vectors of the steps.

    Attributes:
        model: The model.
        source: The layer whose outputs these are, or `None` for the inputs themselves.
        output: As in `gradient_times_input`.
    """

    def __init__(self, model, inputs, layer, output):
        if not model.built:
            model(inputs[:1], training=False)
        self.model, self.source, self.output = model, _source(model, layer, inputs), output

    def run(self, inputs):
        """The vectors, an array `(calls, B, ..., D)`, and the probabilities `(B, C)`."""
        if self.source is None:
            outputs = self.model(inputs, training=False)
            vectors = [inputs]
        else:
            vectors = []

            def record(original, *args, **kwargs):
                vectors.append(original(*args, **kwargs))
                return vectors[-1]

            with intercepted(self.source, "call", record):
                outputs = self.model(inputs, training=False)
        predicted = ops.convert_to_numpy(probabilities.entry(outputs, self.output))
        return self._stacked(vectors, inputs), probabilities.checked("model", predicted, inputs)

    def probability(self, points, inputs, classes):
        """The probability of a class `(B,)` where the vectors are `points` `(calls, B, ..., D)`."""
        if self.source is None:
            outputs = self.model(points[0], training=False)
        else:
            calls = iter(range(points.shape[0]))

            def replace(original, *args, **kwargs):
                return ops.cast(points[next(calls)], self.source.compute_dtype)

            with intercepted(self.source, "call", replace):
                outputs = self.model(inputs, training=False)
        outputs = ops.cast(probabilities.entry(outputs, self.output), "float32")
        if len(outputs.shape) == 1:
            outputs = ops.expand_dims(outputs, -1)  # (B, 1)
        if outputs.shape[-1] == 1:
            outputs = ops.concatenate([1.0 - outputs, outputs], axis=-1)
        return ops.sum(outputs * ops.one_hot(classes, outputs.shape[-1]), axis=-1)

    def _stacked(self, vectors, inputs):
        name = "inputs" if self.source is None else self.source.name
        try:
            vectors = [np.asarray(ops.convert_to_numpy(x), "float64") for x in vectors]
        except Exception as error:  # each backend raises its own for a tensor of a traced function
            raise ValueError(UNREADABLE.format(what="The outputs", name=name)) from error
        if not vectors:
            raise ValueError(UNREADABLE.format(what="The outputs", name=name))
        shapes = [x.shape for x in vectors]
        if len(set(shapes)) > 1 or vectors[0].ndim < 3 or len(vectors[0]) != len(inputs):
            raise ValueError(
                f"`layer` must return a vector for each step, (batch, steps, features), of the "
                f"same shape in each call. Received: layer={name!r}, which returns the shapes "
                f"{shapes} for inputs of shape {inputs.shape}"
            )
        return np.stack(vectors)


def _gradient(model, function):
    """The gradient of the sum of `function(x, *others)`, as a function of NumPy arrays to one.

    Compiled on TensorFlow and JAX: they would otherwise take a loop apart for each gradient anew.
    The scope keeps away from the model what a call leaves in it, such as losses: tensors that mean
    nothing outside of the compiled function.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def eager(x, *others):
            with tf.GradientTape() as tape, keras.StatelessScope():
                tape.watch(x)
                y = function(x, *others)
            return tape.gradient(y, x, unconnected_gradients="zero")

        @functools.cache
        def compiled(*specs):
            return tf.function(eager, autograph=False).get_concrete_function(*specs)

        def of_tensors(x, *others):
            tensors = x, *others
            # By its specs: TensorFlow warns of functions that it compiles again and again.
            return compiled(*map(tf.TensorSpec.from_tensor, tensors))(*tensors)

    elif backend == "jax":
        import jax

        variables = model.variables

        @jax.jit
        def of_arrays(x, others, values):
            # The values as arguments: constants would be compiled in.
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return jax.grad(lambda x: function(x, *others).sum())(x)

        def of_tensors(x, *others):
            return of_arrays(x, others, [variable.value for variable in variables])

    else:
        import torch

        def of_tensors(x, *others):
            x = x.detach().requires_grad_()
            with keras.StatelessScope():
                y = function(x, *others)
            if not y.requires_grad:
                return torch.zeros_like(x)
            return torch.autograd.grad(y.sum(), x, allow_unused=True, materialize_grads=True)[0]

    def gradient(*arrays):
        return ops.convert_to_numpy(of_tensors(*map(ops.convert_to_tensor, arrays)))

    return gradient


def _source(model, name, inputs):
    """The layer whose outputs are the vectors of the steps, or `None` for the inputs."""
    paths = paths_of_layers(model)
    if name is None and inputs.dtype.kind == "f":
        return None
    if name is None:
        layers = [layer for layer in paths if isinstance(layer, keras.layers.Embedding)]
        what = "`Embedding` layers (for integers that are no ids, pass floats)"
    else:
        layers, what = [layer for layer in paths if layer is not model], "layers"
    source = find_layer(name, layers, paths, what)
    wrappers = wrappers_of(source, paths)
    if wrappers or isinstance(source, keras.Model):
        around = "a layer inside it" if not wrappers else f"{wrappers[0].name!r} around it"
        kind = "is a model" if not wrappers else "runs once for each step of another layer"
        raise ValueError(
            f"`layer` must be a layer that runs on all steps at once. Received: {source.name!r}, "
            f"which {kind}: name {around}"
        )
    return source


def _checked_target(target, inputs):
    target = np.asarray(target)
    fits = target.shape == inputs.shape[:1] and target.dtype.kind in "iu"
    if not fits or (target < 0).any():
        raise ValueError(
            "`target` must be integers from 0 on, a class for each example. Received: "
            f"target.shape={target.shape}, target.dtype={target.dtype}, "
            f"inputs.shape={inputs.shape}"
        )
    return target


def _baseline(baseline, values, start, total):
    """The baseline of the examples from `start` on, which broadcasts to `values`."""
    if baseline is None:
        return 0.0
    baseline, shape = np.asarray(baseline, "float64"), values.shape[1:]
    try:
        of_all = np.broadcast_to(baseline, (total, *shape[1:]))
    except ValueError as error:
        raise ValueError(
            "`baseline` must broadcast to the vectors of the steps. Received: "
            f"baseline.shape={baseline.shape}, vectors of shape {(total, *shape[1:])}"
        ) from error
    return of_all[start : start + shape[0]]


def _column(x, axes):
    """A vector as an array of so many axes, that of the vector first."""
    return x.reshape(-1, *[1] * (axes - 1))
