"""Shared by all searches: the checked step, and reading and writing by index."""

import numbers

import keras
from keras import ops

from keras_attention.functional import normalize
from keras_attention.recurrent.time_loop import leaves_as
from keras_attention.target import without_graph


class Stepper:
    """The caller's `step`, checked, with its state as a flat tuple of tensors.

    Loop variables are tensors of constant shapes and dtypes; a caller's state is a structure, may
    hold `None`, and its code sometimes loses a static size. This class converts between them.

    Args:
        step: Function `(token, state) -> (logits, state)`, see `greedy_search`.
        start_token: Integer, or integers `(B,)`.
        state: Structure of tensors `(B, ...)` and scalars.
        end_token: Integer or `None`.
        num_beams: Positive integer K. Each row is repeated K times, side by side.

    Attributes:
        token: The start tokens, int32 `(B,)`.
        state: The state before the first step: tensors `(B * K, ...)` and scalars.
        constant: Indices of the state's tensors that every step so far has returned unchanged.

    Raises:
        ValueError: If an argument does not fit; when called, if the step's outputs do not.
    """

    def __init__(self, step, start_token, state, end_token=None, num_beams=1):
        if not callable(step):
            raise ValueError(
                "`step` must be a function `(token, state) -> (logits, state)`. "
                f"Received: step={step!r}"
            )
        if end_token is not None:
            end_token = integer("end_token", end_token)
        self._step, self._end_token, self._structure = step, end_token, state
        leaves = [ops.convert_to_tensor(x) for x in keras.tree.flatten(state) if x is not None]
        self.token = _start(start_token, leaves)
        self.state = tuple(x if _is_scalar(x) else _repeat(x, num_beams) for x in leaves)
        self.constant = set(range(len(leaves)))

    def __call__(self, token, state):
        """One step for the tokens `(rows,)` and a flat state.

        Returns:
            Log probabilities `(rows, V)` in float32, the flat state, and the attention weights or
            `None`.
        """
        returned = self._step(token, self._pack(state))
        if not isinstance(returned, tuple | list) or len(returned) not in (2, 3):
            raise ValueError(
                "`step` must return `(logits, state)` or `(logits, state, weights)`. "
                f"Received: {type(returned).__name__} {_sizes(returned)}"
            )
        logits, new, *weights = returned
        logits = ops.convert_to_tensor(logits)
        if len(logits.shape) != 2 or logits.shape[1] is None:
            raise ValueError(
                "`step` must return logits of the shape (rows, vocabulary) with a known size of "
                f"the vocabulary. Received: logits.shape={tuple(logits.shape)}"
            )
        if self._end_token is not None and not 0 <= self._end_token < logits.shape[1]:
            raise ValueError(
                "`end_token` must be one of the vocabulary's tokens. Received: "
                f"end_token={self._end_token}, logits.shape={tuple(logits.shape)}"
            )
        weights = [without_graph(x) if x is not None else x for x in weights]
        logits = ops.cast(without_graph(logits), "float32")
        logits = ops.reshape(logits, (ops.shape(token)[0], logits.shape[1]))
        return normalize.log_probabilities(logits), self._flat(new, state), *(weights or [None])

    def _pack(self, state):
        rest = iter(state)
        flat = keras.tree.flatten(self._structure)
        leaves = [None if x is None else next(rest) for x in flat]
        return keras.tree.pack_sequence_as(self._structure, leaves)

    def _flat(self, new, old):
        """The new state as a tuple; removes changed tensors from `constant`."""
        try:
            keras.tree.assert_same_structure(self._structure, new)
            pairs = zip(
                leaves_as(self._structure, new), keras.tree.flatten(self._structure), strict=True
            )
            new = [x for x, first in pairs if first is not None]
        except (ValueError, TypeError) as error:
            raise ValueError(
                "`step` must return the state in the structure it received. Received: "
                f"state={_sizes(self._structure)}, returned={_sizes(new)}"
            ) from error
        self.constant -= {i for i, x in enumerate(new) if x is not old[i]}
        return tuple(
            x if x is y else without_graph(_with_static_shape(x, y))
            for x, y in zip(new, old, strict=True)
        )


def integer(name, value):
    """`value`, or a `ValueError` that names the argument."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"`{name}` must be an integer. Received: {name}={value!r}")
    return value


def plain(value):
    """A NumPy integer as a Python one; anything else unchanged."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return int(value) if is_integer else value


def pick(x, index):
    """Gathers `(B, M, ...)` from `x` `(B, N, ...)` by an index `(B, M)` of its second axis."""
    sizes = ops.shape(x)
    row = ops.expand_dims(ops.arange(sizes[0], dtype="int32"), -1)  # (B, 1)
    flat = ops.reshape(x, (-1, *sizes[2:]))
    return ops.take(flat, ops.cast(index, "int32") + row * sizes[1], axis=0)


def write(tokens, i, token):
    """`tokens` `(..., L)` with `token` `(...)` in column `i`."""
    column = ops.equal(ops.arange(tokens.shape[-1], dtype="int32"), i)
    return ops.where(column, ops.expand_dims(token, -1), tokens)


def _is_scalar(x):
    return len(x.shape) == 0


def _start(start_token, leaves):
    """Start tokens as int32 `(B,)`; for a single integer the state gives B."""
    token = ops.convert_to_tensor(start_token)
    if "int" not in keras.backend.standardize_dtype(token.dtype) or len(token.shape) > 1:
        raise ValueError(
            "`start_token` must be an integer or integers of the shape (batch,). Received: "
            f"{keras.backend.standardize_dtype(token.dtype)} of the shape {tuple(token.shape)}"
        )
    rows = [x for x in leaves if not _is_scalar(x)]
    sizes = {x.shape[0] for x in [*rows, *([] if _is_scalar(token) else [token])]} - {None}
    if len(sizes) > 1:
        raise ValueError(
            "`start_token` and every tensor of `state` must have the batch as their first axis. "
            f"Received: start_token.shape={tuple(token.shape)}, "
            f"state={[tuple(x.shape) for x in leaves]}"
        )
    token = ops.cast(token, "int32")
    if not _is_scalar(token):
        return token
    if not rows:
        raise ValueError(
            "`start_token` must have the shape (batch,) where no tensor of `state` gives the "
            f"batch size. Received: start_token={start_token!r}"
        )
    return ops.broadcast_to(token, (ops.shape(rows[0])[0],))


def _repeat(x, times):
    """`(B, ...)` to `(B * times, ...)`, each row followed by its copies."""
    return x if times == 1 else ops.repeat(x, times, axis=0)


def _with_static_shape(new, old):
    """The new tensor with the static shape of the old one, which a loop requires."""
    new = ops.convert_to_tensor(new)
    dtypes = [keras.backend.standardize_dtype(x.dtype) for x in (new, old)]
    sizes = list(zip(new.shape, old.shape, strict=False))
    if (
        dtypes[0] != dtypes[1]
        or len(new.shape) != len(old.shape)
        or any(None not in pair and pair[0] != pair[1] for pair in sizes)
    ):
        raise ValueError(
            "`step` must return each tensor of the state in its shape and dtype (a cache has its "
            f"full length from the start). Received: {dtypes[1]} of the shape {tuple(old.shape)}, "
            f"returned: {dtypes[0]} of the shape {tuple(new.shape)}"
        )
    return new if tuple(new.shape) == tuple(old.shape) else ops.reshape(new, ops.shape(old))


def _sizes(structure):
    """The structure with a shape in place of each tensor, for error messages."""
    return keras.tree.map_structure(lambda x: tuple(getattr(x, "shape", ())), structure)
