"""Caches for decoding: tensors of a fixed length M that fill up from the start."""

from keras import ops


def write(buffer, update, start, axis):
    """`buffer` with `update` instead of its steps from `start` on.

    Args:
        buffer: Tensor with M steps on `axis`.
        update: Tensor with the other axes of the buffer and T steps.
        start: Integer or scalar tensor, at most M - T (compiled code clips a larger one).
        axis: Integer, the axis of the steps.
    """
    indices = [0] * len(buffer.shape)
    indices[axis] = start
    return ops.slice_update(buffer, indices, ops.cast(update, buffer.dtype))
