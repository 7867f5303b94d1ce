"""Plain means and maxima over the allowed positions of a grid."""

import keras
from keras import ops

from keras_attention.target import is_for_tflite

_LOWEST = -3e38


def mean_and_max(x, mask=None):
    """Mean and maximum of every feature over the rows and columns; zeros where none is allowed.

    The gradient of a maximum goes to one position, the first in reading order that holds it.

    Args:
        x: Tensor `(B, H, W, C)`, zeros in its masked positions.
        mask: Boolean `(B, H, W)`, or `None`.

    Returns:
        Two tensors `(B, C)`, in float32 at least, as a sum over an image overflows float16.
    """
    x = _widen(x)
    if mask is None:
        pooled = ops.mean(x, axis=(1, 2)), _largest_of_positions(x)  # (B, C) each
        count = ops.shape(x)[1] * ops.shape(x)[2]
        if is_for_tflite() or (isinstance(count, int) and count > 0):
            return pooled
        mean, largest = (ops.where(count > 0, value, 0.0) for value in pooled)
        return mean, largest
    mask = ops.expand_dims(ops.cast(mask, "bool"), -1)  # (B, H, W, 1)
    count = ops.sum(ops.cast(mask, x.dtype), axis=(1, 2))  # (B, 1)
    mean = ops.sum(x, axis=(1, 2)) / ops.maximum(count, 1.0)
    largest = _largest_of_positions(ops.where(mask, x, _LOWEST))
    return mean, ops.where(count > 0, largest, 0.0)


def mean_and_max_of_features(x):
    """Mean and maximum of the features of every position: `(B, H, W, C)` to `(B, H, W, 2)`.

    The gradient of a maximum goes to one feature, the first that holds it.
    """
    x = _widen(x)
    return ops.concatenate([ops.mean(x, axis=-1, keepdims=True), _largest(x, -1)], axis=-1)


def _largest_of_positions(x):
    """The maximum over rows and columns: `(B, H, W, C)` to `(B, C)`."""
    if is_for_tflite():
        return ops.max(x, axis=(1, 2))
    # Of each row, then of the rows: the first maximum of the first row that has it.
    return ops.squeeze(_largest(_largest(x, 2), 1), (1, 2))


def _largest(x, axis):
    """The maximum over an axis, which stays as one of 1; `-inf` where the axis is empty.

    The gradient of `ops.max` divides by the number of elements that equal the maximum. XLA may
    compute `x` once for the maximum and again for the comparison, rounded in another way (a
    product and a sum fused, or not): it then finds none, and the gradient is infinite or NaN.
    """
    if is_for_tflite():  # which needs no gradient
        return ops.max(x, axis=axis, keepdims=True)
    if 0 in x.shape:  # of nothing, the maximum has another shape on PyTorch
        shape = list(ops.shape(x))
        shape[axis] = 1
        return ops.full(shape, -float("inf"), x.dtype)

    @ops.custom_gradient
    def largest(x):
        def gradient(*args, upstream=None):  # PyTorch hands over `x` too
            upstream = args[0] if upstream is None else upstream
            return ops.where(_is_first_largest(x, axis), upstream, 0.0)

        return ops.max(x, axis=axis, keepdims=True, initial=-float("inf")), gradient

    return largest(x)


def _is_first_largest(x, axis):
    """Boolean, of the shape of `x`: true at the first maximum over the axis, and there alone."""
    padded = x
    if not x.shape[axis]:  # none, or perhaps none: `argmax` of nothing is an error
        widths = [[0, 0] for _ in x.shape]
        widths[axis][1] = 1
        padded = ops.pad(x, widths, "constant", -float("inf"))
    first = ops.argmax(padded, axis=axis, keepdims=True)
    indices = ops.arange(ops.shape(x)[axis], dtype=first.dtype)
    after = [1] * (len(x.shape) - 1 - axis % len(x.shape))
    return ops.equal(first, ops.reshape(indices, (-1, *after)))


def _widen(x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
