"""Plain means and maxima over the allowed places of a grid."""

import keras
from keras import ops

_LOWEST = -3e38


def mean_and_max(x, mask=None):
    """Mean and maximum of every feature over the rows and columns; zeros where none is allowed.

    Args:
        x: Tensor `(B, H, W, C)`, zeros in its masked places.
        mask: Boolean `(B, H, W)`, or `None`.

    Returns:
        Two tensors `(B, C)`, in float32 at least: a sum over an image overflows float16.
    """
    x = _widen(x)
    if mask is None:
        return ops.mean(x, axis=(1, 2)), ops.max(x, axis=(1, 2))
    mask = ops.expand_dims(ops.cast(mask, "bool"), -1)  # (B, H, W, 1)
    count = ops.sum(ops.cast(mask, x.dtype), axis=(1, 2))  # (B, 1)
    mean = ops.sum(x, axis=(1, 2)) / ops.maximum(count, 1.0)
    largest = ops.max(ops.where(mask, x, _LOWEST), axis=(1, 2))
    return mean, ops.where(count > 0, largest, 0.0)


def mean_and_max_of_features(x):
    """Mean and maximum of the features of every place: `(B, H, W, C)` to `(B, H, W, 2)`."""
    x = _widen(x)
    pooled = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
    return ops.concatenate(pooled, axis=-1)


def _widen(x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
