"""TensorFlow's loop over time where it is differentiated or compiled by XLA."""

from keras import ops

from keras_attention.target import is_under_xla


def loop_over_arrays(step, sequences, state, reverse, example):
    """See `loops_keras.loop`: sequences and outputs as arrays, whose gradient is written per step.

    Args:
        step: Function `(tensors, state) -> (tensors, state)`.
        sequences: List of tensors `(B, T, ...)`.
        state: List of tensors.
        reverse: Whether to start at the last step.
        example: List of tensors, outputs of one step.
    """
    import tensorflow as tf

    known = [x.shape[1] for x in sequences if x.shape[1] is not None]
    length = known[0] if known else tf.shape(sequences[0])[1]
    if not known and is_under_xla():  # which reads a step of no steps too, but never runs that
        more = [0, tf.maximum(1 - length, 0)]
        sequences = [tf.pad(x, [[0, 0], more] + [[0, 0]] * (len(x.shape) - 2)) for x in sequences]
    sizes = [length if known else tf.shape(x)[1] for x in sequences]
    read = [
        tf.TensorArray(x.dtype, n, element_shape=(x.shape[0], *x.shape[2:])).unstack(
            ops.swapaxes(x, 0, 1)  # (T, B, ...)
        )
        for x, n in zip(sequences, sizes, strict=True)
    ]
    # With one entry also without steps: else its shape may be unknown.
    size = max(length, 1) if known else tf.maximum(length, 1)
    written = [tf.TensorArray(x.dtype, size, element_shape=x.shape).write(0, x) for x in example]

    def body(t, written, state):
        now = length - 1 - t if reverse else t
        outputs, state = step([array.read(now) for array in read], state)
        written = [array.write(now, x) for array, x in zip(written, outputs, strict=True)]
        return t + 1, written, state

    _, written, state = tf.while_loop(
        lambda t, *_: t < length,
        body,
        (0, written, list(state)),
        maximum_iterations=length,  # without it XLA finds no gradient
    )
    return [ops.swapaxes(array.stack()[:length], 0, 1) for array in written], list(state)


def write(written, x, now):
    """`written` `(T, B, ...)` with `x` `(B, ...)` as its step `now`, with a gradient."""
    import tensorflow as tf

    return tf.tensor_scatter_nd_update(written, ops.reshape(now, (1, 1)), ops.expand_dims(x, 0))
