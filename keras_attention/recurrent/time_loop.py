"""The loop over time, which all recurrence of the package goes through."""

import keras
from keras import ops

from keras_attention import checks, target
from keras_attention.recurrent import loops_keras, loops_tensorflow


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
        training: Whether it is differentiated and not exported: then TensorFlow reads and writes by
            operations whose gradient costs less, and which TFLite does not have.

    Returns:
        The outputs, a structure of tensors `(B, T, ...)`, and the last state.

    Raises:
        ValueError: For inputs without a tensor or of different lengths, and for a step that changes
            the shapes or dtypes of its state.

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
    first_state, _ = as_state(first)
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
        leaves = *leaves_as(first_state, state), *values
        state = [ops.convert_to_tensor(x) for x in leaves if x is not None]
        return outputs, [_like(new, old) for new, old in zip(state, first, strict=True)]

    is_empty = any(isinstance(n, int) and n == 0 for n in (*lengths, sequences[0].shape[0]))
    if is_empty or not target.has_sizes_of_its_own(sequences[0]):
        outputs, last = _no_loop(flat_step, sequences, first)
    else:
        outputs, last = _loop(flat_step, sequences, first, reverse, training)
    last, values = as_state(last)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return as_outputs(outputs), last


def leaves_as(structure, other):
    """The leaves of another structure of the same form, in the order of this one's.

    On PyTorch Keras flattens a dict inside a dict in the order in which it was filled.
    """
    return keras.tree.flatten(keras.tree.map_structure(lambda _, x: x, structure, other))


def hold(mask, new, old):
    """`new` in the rows where the mask `(B,)` is true, elsewhere `old`: structures `(B, ...)`."""
    if mask is None:
        return new
    checks.boolean("mask", mask)
    mask = ops.cast(mask, "bool")

    def select(new, old):
        return ops.where(ops.reshape(mask, (-1,) + (1,) * (len(new.shape) - 1)), new, old)

    return keras.tree.map_structure(select, new, old)


def _loop(step, sequences, state, reverse, training):
    """Runs `(tensors, state) -> (tensors, state)` by the loop that suits the backend."""
    if not target.is_tensorflow():
        return loops_keras.scan(step, sequences, state, reverse)
    example = _example(step, sequences, state)
    if training or target.is_under_xla():
        return loops_tensorflow.loop_over_arrays(step, sequences, state, reverse, example)
    # `slice_update` takes half the time in a TFLite file, but TensorFlow has no gradient of it.
    write = None if target.is_for_tflite() else loops_tensorflow.write
    return loops_keras.loop(step, sequences, state, reverse, example, write)


def _no_loop(step, sequences, state):
    """Outputs and state of no steps, or of no rows; of any steps, where shapes alone are asked."""
    batch, length = ops.shape(sequences[0])[:2]
    example = _example(step, sequences, state)
    return [ops.zeros((batch, length, *ops.shape(x)[1:]), x.dtype) for x in example], state


def _example(step, sequences, state):
    """Outputs of a step, for their shapes alone, so that length 0 works as well."""
    zeros = [ops.zeros((s[0], *s[2:]), x.dtype) for x in sequences for s in [ops.shape(x)]]
    return step(zeros, state)[0]


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
