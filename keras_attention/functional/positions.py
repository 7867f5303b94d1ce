"""Positions: steps become waves, angles, slopes or buckets. Arithmetic in float32 or integers."""

import numpy as np
from keras import ops

from keras_attention.functional.shapes import reshape
from keras_attention.target import has_sizes_of_its_own, is_under_xla

_STRIDE = 1024


def steps(length, start=0):
    """Positions of `length` steps in a row.

    Args:
        length: Integer or scalar tensor T.
        start: Position of the first step: an integer, a scalar tensor, or a tensor `(B,)` with one
            for each row (minus the number of padded steps, where rows are padded at the left).

    Returns:
        Integers `(T,)`, or `(B, T)` for a `start` of each row.
    """
    start = ops.cast(start, "int32")
    return ops.expand_dims(start, -1) + ops.arange(length, dtype="int32")


def sinusoids(steps, size, base=10000.0):
    """Sines and cosines of the steps at `size / 2` wavelengths from 2 pi to 2 pi `base`.

    Feature 2i is `sin(step / base^(2i / size))` and feature 2i + 1 the cosine of the same. An odd
    size ends with a sine.

    Args:
        steps: Tensor `(..., T)`.
        size: Positive integer D.
        base: Positive number.

    Returns:
        float32 `(..., T, D)`.

    Reference:
        Vaswani et al., 2017, section 3.5, https://arxiv.org/abs/1706.03762
    """
    angles = _angles(steps, _frequencies(size, base))  # (..., T, ceil(D / 2))
    return _interleave(ops.sin(angles), ops.cos(angles))[..., :size]


def of_grid(rows, columns):
    """Vectors of the positions of a grid: that of the row, then that of the column.

    Args:
        rows: Tensor `(H, R)`.
        columns: Tensor `(W, C)`.

    Returns:
        Tensor `(H, W, R + C)`.
    """
    height, width = ops.shape(rows)[0], ops.shape(columns)[0]
    rows = ops.broadcast_to(rows[:, None], (height, width, rows.shape[-1]))
    columns = ops.broadcast_to(columns[None], (height, width, columns.shape[-1]))
    return ops.concatenate([rows, columns], axis=-1)


def rotate(x, steps, base=10000.0):
    """Rotates each pair of features by an angle that grows with the position.

    Features 2i and 2i + 1 are rotated by `step / base^(2i / size)`, so the dot product of two
    rotated vectors depends on the distance of their steps and on no position itself.

    Args:
        x: Tensor `(..., T, D)` with an even D.
        steps: Tensor that broadcasts to `(..., T)`.
        base: Positive number.

    Returns:
        Tensor of the shape and dtype of `x`.

    Reference:
        Su et al., 2021, eq. 34, https://arxiv.org/abs/2104.09864
    """
    frequencies = _frequencies(x.shape[-1], base)
    # Angles need float32 (float16 has no odd numbers above 2048); the rotation does not.
    if is_under_xla():
        angles = _angles(steps, frequencies)  # (..., T, D / 2)
        sine, cosine = ops.cast(ops.sin(angles), x.dtype), ops.cast(ops.cos(angles), x.dtype)
        even, odd = x[..., 0::2], x[..., 1::2]
        return _interleave(even * cosine - odd * sine, odd * cosine + even * sine)
    # Half the time where no compiler joins slices and stacks, as in TFLite; but of the gather XLA
    # takes five times as long for the gradient.
    features = np.arange(x.shape[-1])
    angles = _angles(steps, np.repeat(frequencies, 2))  # (..., T, D)
    sine = ops.sin(angles) * np.where(features % 2, 1, -1).astype("float32")
    partner = ops.take(x, features ^ 1, axis=-1)
    return x * ops.cast(ops.cos(angles), x.dtype) + partner * ops.cast(sine, x.dtype)


def leading(x, steps, axis):
    """The first `steps` entries along an axis of a table; more than it has is an error.

    Also where `steps` is unknown until run time: gathering entries that do not exist would give
    zeros, NaN or the last entry, depending on backend and compiler; a reshape fails.
    """
    is_symbol = not isinstance(steps, int) and not ops.is_tensor(steps)
    if is_symbol or not has_sizes_of_its_own(x):
        # An unknown length, where only the shape is asked for: it cannot be compared with the
        # table's size, and so cannot be a slice.
        return ops.take(x, ops.arange(steps), axis=axis)
    axis %= len(x.shape)
    shape = ops.shape(x)
    index = (slice(None),) * axis + (slice(steps),)
    return ops.reshape(x[index], (*shape[:axis], steps, *shape[axis + 1 :]))


def distances(query_length, value_length, start=None):
    """The distance of each value from each query in steps; negative for earlier values.

    Args:
        query_length: Integer or scalar tensor T.
        value_length: Integer or scalar tensor S.
        start: Integer or scalar tensor, the position of the first query. `None` for S - T: as in
            causal masks, the last query has the position of the last step.

    Returns:
        Integers `(T, S)`.

    Example:
        >>> print(keras.ops.convert_to_numpy(distances(2, 3)))
        [[-1  0  1]
         [-2 -1  0]]
    """
    if start is None:
        start = value_length - query_length
    return steps(value_length) - ops.expand_dims(steps(query_length, start), -1)


def alibi_slopes(num_heads):
    """A list of positive floats, one slope per head.

    For H heads, a power of two, the sequence 2^(-8 / H), 2^(-16 / H), ... 2^-8; for others that of
    the next lower power of two, then every other slope of twice as many heads.

    Example:
        >>> alibi_slopes(4)
        [0.25, 0.0625, 0.015625, 0.00390625]

    Reference:
        Press, Smith & Lewis, 2022, section 3, https://arxiv.org/abs/2108.12409
        Other numbers of heads as in the authors' program.
    """

    def sequence(heads):
        return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]

    power = 2 ** (num_heads.bit_length() - 1)
    return sequence(power) + sequence(2 * power)[::2][: num_heads - power]


def relative_buckets(distance, num_buckets, max_distance, is_bidirectional=True):
    """The bucket of each distance: one each for near steps, logarithmically wider ones further off.

    Half of the buckets are for the past and half for the future, or all for the past, where every
    later step then shares bucket 0 with the query's own. Within one direction the lower half are
    for one distance each; the others grow up to `max_distance`, and the last takes in all beyond.

    Args:
        distance: Integer tensor, value step minus query step.
        num_buckets: Positive integer, at least 4 (2 for the past alone).
        max_distance: Positive integer, from which on all distances share the last bucket.
        is_bidirectional: Whether later steps have buckets of their own.

    Returns:
        Integers in `[0, num_buckets)`, of the shape of `distance`.

    Example:
        >>> print(keras.ops.convert_to_numpy(relative_buckets(keras.ops.arange(-9, 4), 8, 8)))
        [3 3 3 3 3 3 2 2 1 0 5 6 6]

    Reference:
        Raffel et al., 2020, section 2.1, https://arxiv.org/abs/1910.10683
        The formula is in the authors' program. In whole numbers here, so that no rounding of a
        logarithm moves a step.
    """
    size = num_buckets // 2 if is_bidirectional else num_buckets
    exact = size // 2
    wide = size - exact

    def bucket(steps):
        if steps < exact:
            return steps
        # exact + floor(wide * log(steps / exact) / log(max_distance / exact)), at most size - 1
        rungs = range(1, wide)
        return exact + sum(steps**wide * exact**k >= max_distance**k * exact**wide for k in rungs)

    table = ops.convert_to_tensor([bucket(steps) for steps in range(max_distance + 1)], "int32")
    past = ops.take(table, ops.clip(-distance, 0, max_distance), axis=0)
    if not is_bidirectional:
        return past
    future = ops.take(table, ops.clip(distance, 0, max_distance), axis=0)
    return ops.where(distance > 0, size + future, past)


def _frequencies(size, base):
    """`1 / base^(2i / size)` for each i: an array `(ceil(size / 2),)`."""
    return base ** (-np.arange(0, size, 2) / size)


def _angles(steps, frequencies):
    """Steps `(..., T)` times frequencies `(F,)`: `(..., T, F)`, up to multiples of 2 pi.

    Of a large step float32 keeps no digits of the angle. So strides of 1,024 steps are counted
    apart, each with an angle that is taken modulo 2 pi beforehand.
    """
    steps = ops.expand_dims(steps, -1)  # (..., T, 1)
    strides = ops.floor_divide(steps + _STRIDE // 2, _STRIDE)
    rest = ops.cast(steps - strides * _STRIDE, "float32")
    of_stride = np.remainder(_STRIDE * frequencies, 2 * np.pi).astype("float32")
    of_rest = ops.multiply(rest, frequencies.astype("float32"))
    return of_rest + ops.multiply(ops.cast(strides, "float32"), of_stride)


def _interleave(even, odd):
    """Features of both in alternation: `(..., D)` twice becomes `(..., 2 D)`."""
    pairs = ops.stack([even, odd], axis=-1)
    return reshape(pairs, (*ops.shape(even)[:-1], 2 * even.shape[-1]))
