"""Bilinear resampling of grids, also of those with masked positions.

By gathered rows and columns, and not by `keras.ops.image.resize`: this has a second derivative on
every backend, compiles under XLA, and leaves masked positions out.
"""

import keras
from keras import ops

from keras_attention.functional import masks


def bilinear(x, size, mask=None):
    """`x` on a grid of another size, pixel centres at half steps as `tf.image.resize` has them.

    Each new position averages the allowed ones among its four neighbours by their nearness. So of a
    padded grid the allowed part gives what it would give alone.

    Args:
        x: Tensor `(B, H, W, C)`, no axis empty.
        size: Pair of integers or scalar tensors, the new height and width.
        mask: Boolean `(B, H, W)`, or `None`.

    Returns:
        Tensor of the new size in float32 at least, zeros where no neighbour is allowed; and the
        boolean mask of the positions that have one, or `None` without a mask.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    x = ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
    if mask is None:
        return _resized(x, size), None
    share = _resized(ops.expand_dims(ops.cast(ops.cast(mask, "bool"), x.dtype), -1), size)
    is_seen = share > 0
    inverse = ops.where(is_seen, 1.0 / ops.where(is_seen, share, 1.0), 0.0)
    resized = _resized(masks.blank(x, mask), size) * ops.cast(inverse, x.dtype)
    return resized, ops.squeeze(is_seen, -1)


def _resized(x, size):
    for axis, new in zip((1, 2), size, strict=True):
        x = _along(x, axis, new)
    return x


def _along(x, axis, new):
    old = ops.shape(x)[axis]
    if isinstance(old, int) and isinstance(new, int) and old == new:
        return x
    # Place i lies at (i + 0.5) old / new - 0.5, here in whole numbers of 1 / (2 new): exact.
    unit = 2 * new
    places = (2 * ops.arange(new, dtype="int32") + 1) * old - new
    places = ops.minimum(ops.maximum(places, 0), (old - 1) * unit)
    before = ops.floor_divide(places, unit)
    share = ops.cast(places - before * unit, x.dtype) / ops.cast(unit, x.dtype)
    share = ops.reshape(share, (-1, *[1] * (3 - axis)))
    after = ops.minimum(before + 1, old - 1)
    return ops.take(x, before, axis) * (1 - share) + ops.take(x, after, axis) * share
