"""Caches for decoding: tensors of a fixed length M that fill up from the start."""

from keras import ops


def write(buffer, update, index, axis):
    """`buffer` with `update` in place of its steps from `index` on.

    Args:
        buffer: Tensor with M steps on `axis`.
        update: Tensor with the other axes of the buffer and T steps.
        index: Integer or scalar tensor, at most M - T (compiled code clips a larger one).
        axis: Integer, the axis of the steps.
    """
    start = [0] * len(buffer.shape)
    start[axis] = index
    return ops.slice_update(buffer, start, ops.cast(update, buffer.dtype))
