"""Means and maxima of a grid."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.functional import pool
from tests.backend import BACKEND, call, needs_tensorflow, run, to_numpy, twice

B, H, W, C = 4, 6, 5, 8
OF = pytest.mark.parametrize("of", ["places", "features"])
JIT = pytest.mark.parametrize("jit", [False, True])


class Largest(keras.layers.Layer):
    """The maxima alone, `(B, C)` over the places or `(B, H, W)` over the features."""

    def __init__(self, of, mask=None, scale=None, shift=None):
        super().__init__(dtype="float32")
        self.of, self.mask, self.scale, self.shift = of, mask, scale, shift
        self.built = True

    def call(self, x):
        if self.scale is not None:
            x = keras.ops.add(keras.ops.multiply(x, self.scale), self.shift)
        if self.of == "places":
            return pool.mean_and_max(x, self.mask)[1]
        return pool.mean_and_max_of_features(x)[..., 1]


def projection(shape):
    """What `tests.backend.run` and `twice` multiply the output with."""
    return np.random.default_rng(0).normal(size=int(np.prod(shape))).reshape(shape)


def is_first_maximum(x, of, mask=None):
    """From the definition, one position at a time: where the gradient of a maximum goes."""
    chosen = np.zeros(x.shape, bool)
    if of == "features":
        for b, i, j in np.ndindex(x.shape[:3]):
            chosen[b, i, j, list(x[b, i, j]).index(max(x[b, i, j]))] = True
        return chosen
    for b, c in np.ndindex(x.shape[0], x.shape[3]):
        places = [p for p in np.ndindex(x.shape[1:3]) if mask is None or mask[b][p]]
        if places:
            chosen[(b, *max(places, key=lambda p: x[b, p[0], p[1], c]), c)] = True
    return chosen


def upstream(shape, of):
    """The projection beside each element of the grid."""
    if of == "features":
        return projection(shape[:3])[..., None]
    return projection((shape[0], shape[3]))[:, None, None, :]


def grid(seed=0):
    return np.random.default_rng(seed).normal(size=(B, H, W, C)).astype("float32")


@OF
@JIT
def test_maxima_of_what_is_computed_twice_have_their_gradient(of, jit):
    """XLA may round `scale x + shift` in two ways, so that no element equals the maximum."""
    x, rng = grid(), np.random.default_rng(1)
    scale, shift = rng.normal(size=(2, C)).astype("float32")
    _, _, gradients = run(Largest(of, None, scale, shift), {"x": x}, jit=jit)
    expected = is_first_maximum(x * scale + shift, of) * upstream(x.shape, of) * scale
    np.testing.assert_allclose(gradients["x"], expected, rtol=1e-5)


@OF
@JIT
def test_the_gradient_goes_to_the_first_of_equal_maxima(of, jit):
    x = np.maximum(np.round(grid() * 2) / 2, 0)  # many halves that tie, and many zeros
    output, _, gradients = run(Largest(of), {"x": x}, jit=jit)
    np.testing.assert_array_equal(output, x.max((1, 2) if of == "places" else -1))
    expected = is_first_maximum(x, of) * upstream(x.shape, of)
    np.testing.assert_allclose(gradients["x"], expected, rtol=1e-5)


@OF
@pytest.mark.parametrize("colour", [-2.0, 0.0, 3.0])
def test_an_image_of_one_colour(of, colour):
    x = np.full((B, H, W, C), colour, "float32")
    output, _, gradients = run(Largest(of), {"x": x}, jit=True)
    np.testing.assert_array_equal(output, colour)
    expected = np.zeros(x.shape)
    expected[(slice(None), 0, 0) if of == "places" else (..., 0)] = 1.0
    np.testing.assert_allclose(gradients["x"], expected * upstream(x.shape, of), rtol=1e-5)


@JIT
def test_a_masked_image(jit):
    x = grid() - 9.0  # below the zeros of masked places
    mask = np.random.default_rng(2).random((B, H, W)) < 0.6
    mask[1] = False
    x[~mask] = 0.0
    output, _, gradients = run(Largest("places", mask), {"x": x}, jit=jit)
    for b in range(B):
        np.testing.assert_array_equal(output[b], x[b][mask[b]].max(0) if b != 1 else 0.0)
    expected = is_first_maximum(x, "places", mask) * upstream(x.shape, "places")
    np.testing.assert_allclose(gradients["x"], expected, rtol=1e-5)
    assert not gradients["x"][1].any()


def test_means():
    x = grid()
    np.testing.assert_allclose(pool.mean_and_max(x)[0], x.mean((1, 2)), rtol=1e-4, atol=1e-6)
    features = to_numpy(pool.mean_and_max_of_features(x))
    np.testing.assert_allclose(features[..., 0], x.mean(-1), rtol=1e-4, atol=1e-6)
    mask = np.random.default_rng(2).random((B, H, W)) < 0.6
    mask[1] = False
    means = to_numpy(pool.mean_and_max(x * mask[..., None], mask)[0])
    for b in range(B):
        expected = x[b][mask[b]].mean(0) if b != 1 else np.zeros(C)
        np.testing.assert_allclose(means[b], expected, rtol=1e-4, atol=1e-6)


@OF
@JIT
def test_a_gradient_has_a_gradient(of, jit):
    """Of tanh(x): where a maximum is, the second derivative is that of tanh, else zero."""

    class OfTanh(Largest):
        def call(self, x):
            return super().call(ops.tanh(x))

    x = grid()
    first, second = twice(OfTanh(of), {"x": x}, jit)
    slope = 1 - np.tanh(x.astype("float64")) ** 2
    chosen, weight = is_first_maximum(x, of), upstream(x.shape, of)
    np.testing.assert_allclose(first["x"], chosen * weight * slope, rtol=1e-3, atol=1e-6)
    bend = -2 * np.tanh(x.astype("float64")) * slope
    expected = 2 * chosen * weight**2 * slope * bend
    np.testing.assert_allclose(second["x"], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    if dtype == "float64" and BACKEND == "jax":
        pytest.skip("JAX has no float64 unless it is asked for at its start")
    x = ops.cast(grid() * 10, dtype)
    wide = "float64" if dtype == "float64" else "float32"
    values = np.array(to_numpy(ops.cast(x, wide)))
    mean, largest = pool.mean_and_max(x)
    features = pool.mean_and_max_of_features(x)
    for value in (mean, largest, features):
        assert keras.backend.standardize_dtype(value.dtype) == wide
    np.testing.assert_array_equal(to_numpy(largest), values.max((1, 2)))
    np.testing.assert_array_equal(to_numpy(features[..., 1]), values.max(-1))


@pytest.mark.parametrize("shape", [(0, H, W, C), (B, 0, W, C), (B, H, 0, C)])
@pytest.mark.parametrize("how", ["eager", "graph", "XLA"])
def test_axes_of_length_0_give_zeros(shape, how):
    class Both(keras.layers.Layer):
        def call(self, x):
            return *pool.mean_and_max(x), pool.mean_and_max_of_features(x)

    layer = Both()
    layer.built = True
    x = np.zeros(shape, "float32")
    mean, largest, features = call(layer, {"x": x}, jit=how == "XLA", use_graph=how == "graph")
    np.testing.assert_array_equal(mean, np.zeros((shape[0], C)))
    np.testing.assert_array_equal(largest, np.zeros((shape[0], C)))
    assert features.shape == (*shape[:3], 2)
    for of in ("places", "features"):
        _, _, gradients = run(Largest(of), {"x": x}, jit=how == "XLA")
        assert gradients["x"].shape == shape


@needs_tensorflow
@OF
@pytest.mark.parametrize("shape", [(0, H, W, C), (B, 0, W, C), (B, H, 0, C), (B, H, W, C)])
def test_unknown_sizes_have_gradients(of, shape):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, C))])
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = Largest(of)(x)
            value = tf.reduce_sum(output)
        return output, tape.gradient(value, x)

    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    output, gradient = step(x)
    np.testing.assert_array_equal(gradient, is_first_maximum(x, of))
    assert np.isfinite(output).all()


@pytest.mark.skipif(BACKEND != "jax", reason="JAX alone differentiates forward over reverse")
@OF
def test_hessians_on_jax(of):
    import jax

    x = np.random.default_rng(0).normal(size=(1, 2, 3, 2)).astype("float32")
    hessian = jax.hessian(lambda x: ops.sum(Largest(of)(x) ** 2))(x)
    size, chosen = x.size, is_first_maximum(x, of).ravel()
    np.testing.assert_allclose(np.reshape(hessian, (size, size)), np.diag(2.0 * chosen))
