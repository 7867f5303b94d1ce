"""What the layers share that a decoder can ask one query after the other."""

import keras
from keras import ops

from keras_attention.functional import masks


class Stepwise:
    """Mixin of the attention layers that take one query after the other.

    The protocol, for batch B and S value steps:

        memory = prepare(value, key, mask)                         once a sequence
        state = initial_state(memory)                              before the first step
        context, weights, state = step(query, memory, state)       (B, D_value), (B, S)
        context, weights, state = steps(query, memory, state)      (B, T, D_value), (B, T, S)

    `steps` is for queries that are all known, and gives what T times `step` gives. Memory and state
    are dicts (or structures) of tensors whose first axis is the batch, so that a search can pick
    their rows; dtypes and shapes of the state never change. A tensor that is not needed is left
    out, not `None`: without a mask there is no `memory["mask"]`.

    A `step` belongs to the `call` that its class has: a subclass that changes `call` alone takes no
    steps any more, until it defines a `step` of its own.

    Attributes:
        takes_steps: Whether `step` computes what `call` does.
    """

    takes_steps = False
    _call_of_step = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        call = getattr(cls, "call", None)
        if "step" in vars(cls):
            cls._call_of_step = staticmethod(call)  # as it is, no method of the class
        cls.takes_steps = call is not None and call is cls._call_of_step

    def prepare(self, value, key=None, mask=None):
        """What is computed once a sequence.

        Args:
            value: Tensor `(B, S, D_value)`.
            key: Tensor `(B, S, D_key)`; the value if `None`.
            mask: Boolean `(B, S)`, or `(1, S)` for all rows, or `None`.

        Returns:
            Dict of tensors: `"value"`, blank where masked, `"key"`, ready for the score's
            `compare`, and `"mask"` `(B, S)` where there is one.
        """
        return prepare(self.score, *self.floats(value, key), mask)

    def initial_state(self, memory):
        """The state before the first step; `{}` where the past does not matter."""
        return {}

    def resume(self, state):
        """The first state of a call that goes on where another one has stopped, from its last."""
        return state

    def finish(self, state):
        """What is left to do after the last step, from its state: `add_loss`, if any."""

    @property
    def state_dtype(self):
        """The dtype of sums over many steps: float32, or wider where the layer computes wider."""
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
    """A mask `(B or 1, S)` as `(B, S)`: who picks rows of it must find them all."""
    rows, all_rows = mask.shape[0], x.shape[0]
    if isinstance(rows, int) and isinstance(all_rows, int) and rows == all_rows:
        return mask
    return ops.logical_and(mask, ops.ones((ops.shape(x)[0], 1), dtype="bool"))
