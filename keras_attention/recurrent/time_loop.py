"""The loop over time: the one place where the package recurs."""

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional.for_tflite import is_for_tflite
from keras_attention.functional.under_xla import is_under_xla


def time_loop(step, inputs, state, layer=None, reverse=False, training=False):
    """Runs `step` over axis 1 of the inputs.

        outputs_t, state_t = step(inputs_t, state_{t-1})

    Differentiable, as often as the step is, compiles under XLA, and converts to TFLite with unknown
    batch and length. No step at all gives empty outputs and the first state.

    Args:
        step: Function `(inputs_t, state) -> (outputs_t, state)`. Shapes and dtypes of the state
            stay as they are.
        inputs: Tensor `(B, T, ...)` or a structure of them; `None` in it stays `None`.
        state: Structure of tensors, `{}` for none.
        layer: The layer whose random numbers the steps draw, if they draw any: its seeds, and all
            else that it does not train, then go from step to step.
        reverse: Whether to start at the last step. Outputs keep the order of the inputs.
        training: Whether it is differentiated and not exported: then TensorFlow reads and writes in
            a way that TFLite does not have, whose gradient costs less.

    Returns:
        The outputs, a structure of tensors `(B, T, ...)`, and the last state.

    Example:
        >>> def add(x, state):
        ...     total = state + x
        ...     return total, total
        >>> sums, last = time_loop(add, keras.ops.array([[1.0, 2.0, 3.0]]), keras.ops.zeros((1,)))
        >>> print(keras.ops.convert_to_numpy(sums), keras.ops.convert_to_numpy(last))
        [[1. 3. 6.]] [6.]
    """
    sequences, as_inputs = _flatten(inputs)
    if not sequences:
        raise ValueError(f"`inputs` must hold a tensor. Received: inputs={inputs!r}")
    lengths = [x.shape[1] for x in sequences]
    if len({length for length in lengths if length is not None}) > 1:
        raise ValueError(f"`inputs` must have the same length. Received: lengths={lengths}")

    variables = [] if layer is None else layer.non_trainable_variables
    constants = [(v, v.value) for v in layer.trainable_variables] if variables else []
    first, as_state = _flatten((state, [ops.convert_to_tensor(v.value) for v in variables]))
    as_outputs = None  # known after the first trace

    def flat_step(inputs_t, state):
        nonlocal as_outputs
        state, values = as_state(state)
        if variables:
            # A value set inside the loop cannot be read outside of it: it travels in the state.
            mapping = constants + list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                outputs, state = step(as_inputs(inputs_t), state)
            values = [scope.get_current_value(v) for v in variables]
        else:
            outputs, state = step(as_inputs(inputs_t), state)
        outputs, as_outputs = _flatten(outputs)
        state, _ = _flatten((state, values))
        return outputs, [_like(new, old) for new, old in zip(state, first, strict=True)]

    run = _scan if keras.backend.backend() == "jax" else _while
    if keras.backend.backend() == "tensorflow" and (training or is_under_xla()):
        run = _while_of_arrays
    if any(isinstance(n, int) and n == 0 for n in (*lengths, sequences[0].shape[0])):
        run = _no_loop
    outputs, last = run(flat_step, sequences, first, reverse)
    last, values = as_state(last)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return as_outputs(outputs), last


def hold(mask, new, old):
    """`new` in the rows where the mask `(B,)` is true, elsewhere `old`: structures `(B, ...)`."""
    if mask is None:
        return new
    checks.boolean("mask", mask)
    mask = ops.cast(mask, "bool")

    def select(new, old):
        return ops.where(ops.reshape(mask, (-1,) + (1,) * (len(new.shape) - 1)), new, old)

    return keras.tree.map_structure(select, new, old)


def _no_loop(step, sequences, state, reverse):
    """Where there are no steps, or no rows, as all know."""
    batch, length = ops.shape(sequences[0])[:2]
    example = _example(step, sequences, state)
    return [ops.zeros((batch, length, *ops.shape(x)[1:]), x.dtype) for x in example], state


def _while(step, sequences, state, reverse):
    """On TensorFlow: only this form converts to TFLite with unknown sizes."""
    batch, length = ops.shape(sequences[0])[:2]
    example = _example(step, sequences, state)
    is_padded = [_may_be_empty(x) for x in example]
    example = [_pad(x) if padded else x for x, padded in zip(example, is_padded, strict=True)]
    written = [ops.zeros((length, *ops.shape(x)), x.dtype) for x in example]  # (T, B, ...)
    # Without rows there is nothing to write, which TensorFlow takes for an error.
    number = length if isinstance(batch, int) and batch else ops.where(batch > 0, length, 0)

    def body(t, written, state):
        now = length - 1 - t if reverse else t
        outputs, state = step([ops.take(x, now, axis=1) for x in sequences], state)
        outputs = [_pad(x) if padded else x for x, padded in zip(outputs, is_padded, strict=True)]
        written = [_write(old, x, now) for x, old in zip(outputs, written, strict=True)]
        return t + 1, tuple(written), tuple(state)

    _, written, state = ops.while_loop(
        lambda t, *_: ops.less(t, number),
        body,
        (ops.zeros((), "int32"), tuple(written), tuple(state)),
        maximum_iterations=length,
    )
    written = [x[..., :-1] if padded else x for x, padded in zip(written, is_padded, strict=True)]
    return [ops.swapaxes(x, 0, 1) for x in written], list(state)


def _may_be_empty(x):
    """Whether a row of `x` `(B, ...)` may have no number, as weights of a memory without steps."""
    return not is_for_tflite() and any(not size for size in x.shape[1:])


def _pad(x):
    """`x` `(..., N)` with one more zero: `(..., N + 1)`."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, 1]])


def _write(written, x, now):
    """`written` `(T, B, ...)` with `x` `(B, ...)` as its step `now`."""
    if keras.backend.backend() != "tensorflow" or is_for_tflite():
        # Half the time in a TFLite file, but TensorFlow has no gradient of it.
        return ops.slice_update(written, (now, *[0] * len(x.shape)), ops.expand_dims(x, 0))
    import tensorflow as tf

    return tf.tensor_scatter_nd_update(written, ops.reshape(now, (1, 1)), ops.expand_dims(x, 0))


def _while_of_arrays(step, sequences, state, reverse):
    """On TensorFlow in training and under XLA, whose gradient is written a step at a time."""
    import tensorflow as tf

    known = [x.shape[1] for x in sequences if x.shape[1] is not None]
    length = known[0] if known else tf.shape(sequences[0])[1]
    if not known and is_under_xla():  # which reads a step of no steps too, but never runs that
        more = [0, tf.maximum(1 - length, 0)]
        sequences = [tf.pad(x, [[0, 0], more] + [[0, 0]] * (len(x.shape) - 2)) for x in sequences]
    sizes = [length if known else tf.shape(x)[1] for x in sequences]
    read = [
        tf.TensorArray(x.dtype, n, element_shape=(x.shape[0], *x.shape[2:])).unstack(
            ops.swapaxes(x, 0, 1)
        )
        for x, n in zip(sequences, sizes, strict=True)
    ]
    # With something in it, also without steps: else its shape may be unknown.
    size = max(length, 1) if known else tf.maximum(length, 1)
    written = [
        tf.TensorArray(x.dtype, size, element_shape=x.shape).write(0, x)
        for x in _example(step, sequences, state)
    ]

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


def _example(step, sequences, state):
    """Outputs of a step, for their shapes alone, so that length 0 works as well."""
    nothing = [ops.zeros((s[0], *s[2:]), x.dtype) for x in sequences for s in [ops.shape(x)]]
    return step(nothing, state)[0]


def _scan(step, sequences, state, reverse):
    """On JAX, where a while loop has no gradient."""

    def body(state, inputs_t):
        outputs, state = step(inputs_t, state)
        return state, outputs

    sequences = [ops.swapaxes(x, 0, 1) for x in sequences]
    state, outputs = ops.scan(body, state, sequences, reverse=reverse)
    return [ops.swapaxes(x, 0, 1) for x in outputs], state


def _flatten(structure):
    """The tensors of a structure, and the function that puts such tensors back in."""
    leaves = keras.tree.flatten(structure)
    tensors = [ops.convert_to_tensor(x) for x in leaves if x is not None]

    def rebuild(tensors):
        rest = iter(tensors)
        filled = [None if x is None else next(rest) for x in leaves]
        return keras.tree.pack_sequence_as(structure, filled)

    return tensors, rebuild


def _like(new, old):
    """`new`, known to have the shape of `old` also where its own static shape says less."""
    same_dtype = new.dtype == old.dtype
    pairs = list(zip(new.shape, old.shape, strict=False))
    if not same_dtype or len(new.shape) != len(old.shape) or any(_differ(*p) for p in pairs):
        raise ValueError(
            "A step must keep the shapes and dtypes of its state. Received: "
            f"{_describe(old)} before the step, {_describe(new)} after"
        )
    return ops.reshape(new, ops.shape(old)) if any(a is None and b for a, b in pairs) else new


def _describe(x):
    return f"{keras.backend.standardize_dtype(x.dtype)} {tuple(x.shape)}"


def _differ(a, b):
    return None not in (a, b) and a != b
