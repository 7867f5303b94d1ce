"""Loops over time by Keras' operations."""

from keras import ops

from keras_attention.target import is_for_tflite


def loop(step, sequences, state, reverse, example, write=None):
    """A while loop: the only form that converts to TFLite with unknown sizes.

    Args:
        step: Function `(tensors, state) -> (tensors, state)`.
        sequences: List of tensors `(B, T, ...)`.
        state: List of tensors.
        reverse: Whether to start at the last step.
        example: List of tensors, outputs of one step.
        write: Function `(written, x, now)` that returns `written` `(T, B, ...)` with `x`
            `(B, ...)` as its step `now`; `None` for `ops.slice_update`.

    Returns:
        The outputs, a list of tensors `(B, T, ...)`, and the last state.
    """
    write = write or _write
    batch, length = ops.shape(sequences[0])[:2]
    is_padded = [_may_be_empty(x) for x in example]
    example = [_pad(x) if padded else x for x, padded in zip(example, is_padded, strict=True)]
    written = [ops.zeros((length, *ops.shape(x)), x.dtype) for x in example]  # (T, B, ...)
    # Without rows there is nothing to write, which TensorFlow takes for an error.
    count = length if isinstance(batch, int) and batch else ops.where(batch > 0, length, 0)

    def body(t, written, state):
        now = length - 1 - t if reverse else t
        outputs, state = step([ops.take(x, now, axis=1) for x in sequences], state)
        outputs = [_pad(x) if padded else x for x, padded in zip(outputs, is_padded, strict=True)]
        written = [write(old, x, now) for x, old in zip(outputs, written, strict=True)]
        return t + 1, tuple(written), tuple(state)

    _, written, state = ops.while_loop(
        lambda t, *_: ops.less(t, count),
        body,
        (ops.zeros((), "int32"), tuple(written), tuple(state)),
        maximum_iterations=length,
    )
    written = [x[..., :-1] if padded else x for x, padded in zip(written, is_padded, strict=True)]
    return [ops.swapaxes(x, 0, 1) for x in written], list(state)


def scan(step, sequences, state, reverse):
    """For JAX, where a while loop has no gradient, and PyTorch, where each step of one would copy
    all outputs; arguments and results as of `loop`.
    """

    def body(state, inputs_t):
        outputs, state = step(inputs_t, state)
        return state, outputs

    sequences = [ops.swapaxes(x, 0, 1) for x in sequences]  # (T, B, ...)
    state, outputs = ops.scan(body, state, sequences, reverse=reverse)
    return [ops.swapaxes(x, 0, 1) for x in outputs], state


def _may_be_empty(x):
    """Whether a row of `x` `(B, ...)` may have no entry, as weights of a memory without steps."""
    return not is_for_tflite() and any(not size for size in x.shape[1:])


def _pad(x):
    """`x` `(..., N)` with one more zero: `(..., N + 1)`."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, 1]])


def _write(written, x, now):
    return ops.slice_update(written, (now, *[0] * len(x.shape)), ops.expand_dims(x, 0))
