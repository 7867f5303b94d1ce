"""The protocol of attention layers that a decoder calls step by step."""

import keras
from keras import ops

from keras_attention.functional import masks
from keras_attention.types import State, Tensor


class Stepwise:
    """Mixin of the attention layers that can attend step by step, one query per step.

    The protocol, for batch B and S value steps:

        memory = prepare(value, key, mask)                         once per sequence
        state = initial_state(memory)                              before the first step
        context, weights, state = step(query, memory, state)       (B, D_value), (B, S)
        context, weights, state = steps(query, memory, state)      (B, T, D_value), (B, T, S)

    `steps` is for queries that are all known, and equals T calls of `step`. Memory and state are
    dicts (or structures) of tensors whose first axis is the batch, so that a search can select
    rows; dtypes and shapes of the state never change. A tensor that is not needed is left out, not
    `None`: without a mask there is no `memory["mask"]`.

    A `step` belongs to the `call` of its class: a subclass that changes `call` alone has
    `takes_steps = False` until it defines its own `step`.

    Attributes:
        takes_steps: Whether `step` computes what `call` does.
    """

    takes_steps = False
    _call_of_step = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        call = getattr(cls, "call", None)
        if "step" in vars(cls):
            cls._call_of_step = staticmethod(call)  # the plain function, not a method
        cls.takes_steps = call is not None and call is cls._call_of_step

    def prepare(
        self, value: Tensor, key: Tensor | None = None, mask: Tensor | None = None
    ) -> State:
        """The memory, computed once per sequence.

        Args:
            value: Tensor `(B, S, D_value)`.
            key: Tensor `(B, S, D_key)`; the value if `None`.
            mask: Boolean `(B, S)`, or `(1, S)` for all rows, or `None`.

        Returns:
            Dict of `"value"`, zero where masked, of `"key"`, prepared for the score's `compare`,
            and of `"mask"` `(B, S)` if there is one.

        Raises:
            ValueError: If the mask has a float dtype or another shape.
        """
        value, key = self.floats(value, key)
        return prepare(self.score, value, key, mask)

    def initial_state(self, memory: State) -> State:
        """The state before the first step.

        Args:
            memory: What `prepare` returned.

        Returns:
            Dict of tensors `(B, ...)`; empty if no step depends on earlier ones.
        """
        return {}

    def resume(self, state: State) -> State:
        """The initial state of a call that continues an earlier one.

        Args:
            state: The last state of the earlier call.

        Returns:
            The same state, or one in which what counts for one call alone starts anew.
        """
        return state

    def finish(self, state: State) -> None:
        """Called with the state after the last step, to add a loss if there is one."""

    @property
    def state_dtype(self) -> str:
        """The dtype of sums over many steps, float32, or float64 if the layer computes in it."""
        return keras.backend.result_type(self.compute_dtype, "float32")


def prepare(score, value, key, mask):
    """See `Stepwise.prepare`; with `score=None` the key stays as it is."""
    mask = masks.of_steps("value", value, value_mask=mask)
    blank = masks.blank(value, mask)
    key = blank if key is None else masks.blank(key, mask)
    if score is not None:
        key = score.prepare_key(key)
    memory = {"value": blank, "key": key}
    return memory if mask is None else {**memory, "mask": _of_all_rows(mask, value)}


def _of_all_rows(mask, x):
    """A mask `(B or 1, S)` as `(B, S)`, so that a search can select rows of it."""
    rows, all_rows = mask.shape[0], x.shape[0]
    if isinstance(rows, int) and isinstance(all_rows, int) and rows == all_rows:
        return mask
    return ops.logical_and(mask, ops.ones((ops.shape(x)[0], 1), dtype="bool"))
