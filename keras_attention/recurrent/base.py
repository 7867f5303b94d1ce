"""What all attentions share whose weights may depend on those of the steps before."""

import inspect

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, normalize
from keras_attention.functional.attend import attend
from keras_attention.layers.base import AttentionLayer
from keras_attention.layers.content_attention import ContentAttention
from keras_attention.recurrent.time_loop import hold, time_loop


class RecurrentAttention(AttentionLayer):
    """Base of the attentions with a past, which see one query after the other.

    A subclass says what happens at one step; `call` walks over a whole sequence of queries, and
    `AttentionDecoder` over the states of its cell. The protocol, for batch B, S value steps:

        memory = prepare(value, key, mask)                         once a sequence
        state = initial_state(memory)                              before the first step
        context, weights, state = step(query, memory, state)       (B, D_value), (B, S)

    Memory and state are dicts (or structures) of tensors whose first axis is the batch, so that a
    search can pick their rows; dtypes and shapes of the state never change. A tensor that is not
    needed is left out, not `None`: without a mask there is no `memory["mask"]`.

    The three run inside the `call` of another layer as well as alone: cast a weight of your own
    to the dtype of what it meets, `ops.cast(self.kernel, query.dtype)`. A step draws its random
    numbers, if any, from `self.seed_generator`, and calls no `add_loss`: put what a loss needs
    into the state, and add it in `finish(state)`, which is called after the last step.

    An attention that needs the cell of the decoder sets `uses_cell_state = True`. Its `step` and
    `call` then take one more argument `cell_state`, a dict of what the cell had and has at this
    step: `"inputs"` `(B, D)`, `"previous"` and `"current"`, flat lists of the cell's states
    before and after it ran; and its `build` takes `cell_state_shape`, the same with shapes.

    Any other attention layer is fit for a decoder through `recurrent`.

    Args:
        score, normalizer, dropout, seed: As in `AttentionLayer`.
    """

    uses_cell_state = False

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        if self.score is not None:
            self._build_score(query_shape, key_shape)
        self.built = True

    def prepare(self, value, key=None, mask=None):
        """What is computed once a sequence.

        Args:
            value: Tensor `(B, S, D_value)`.
            key: Tensor `(B, S, D_key)`; the value if `None`.
            mask: Boolean `(B, S)` or `None`.

        Returns:
            Dict of tensors: `"value"`, blank where masked, `"key"`, ready for the score's
            `compare`, and `"mask"` where there is one.
        """
        return _prepare(self.score, value, key, mask)

    def initial_state(self, memory):
        """The state before the first step; `{}` where the past does not matter."""
        return {}

    def step(self, query, memory, state, training=None):
        """One step: `(context (B, D_value), weights (B, S), state)` for a query `(B, D_query)`."""
        raise NotImplementedError(f"`{type(self).__name__}` must define `step`.")

    def finish(self, state):
        """What is left to do after the last step, from its state: `add_loss`, if any."""

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        return_attention_scores=False,
        training=None,
    ):
        memory = self._prepare_call(value, key, value_mask, key_mask)
        context, weights, state = self._attend_in_time(query, memory, query_mask, training)
        self.finish(state)
        return (context, weights) if return_attention_scores else context

    def _prepare_call(self, value, key, value_mask, key_mask):
        mask = masks.of_steps("value", value, value_mask=value_mask, key_mask=key_mask)
        return self.prepare(value, key, mask)

    def _attend_in_time(self, query, memory, query_mask=None, training=None, **others):
        """Contexts `(B, T, D_value)`, weights `(B, T, S)` and the last state.

        A masked query gets zeros, and the state passes it by unchanged. `others` are more
        arguments of `step`, structures of tensors `(B, T, _)`.
        """

        def step(inputs, state):
            query, others, mask = inputs
            found = self.step(query, memory, state, training=training, **others)
            found, new = found[:2], found[2]
            nothing = tuple(map(ops.zeros_like, found))
            return hold(mask, found, nothing), hold(mask, new, state)

        query_mask = masks.of_steps("query", query, query_mask=query_mask)
        seen = keras.tree.map_structure(lambda x: masks.blank(x, query_mask), (query, others))
        inputs = *seen, query_mask
        layer = self if training else None
        (context, weights), state = time_loop(
            step, inputs, self.initial_state(memory), layer=layer, training=bool(training)
        )
        return context, weights, state

    def _attend_once(self, query, memory, score, training=None):
        """`attend` for a single query `(B, D_query)`; `score` sees it as `(B, 1, D_query)`."""
        mask = memory.get("mask")
        mask = None if mask is None else ops.expand_dims(mask, 1)
        context, weights = self._attend(
            ops.expand_dims(query, 1),
            memory["value"],
            memory["key"],
            mask,
            lambda query, key, start: score(query, key),
            training,
        )
        return context[:, 0], weights[:, 0]

    def _average(self, weights, memory, training=None):
        """Context and weights of a step whose weights `(B, S)` are known, masked and all."""
        context, weights = attend(
            ops.expand_dims(weights, 1),
            memory["value"],
            memory["key"],
            score=lambda weights, key, start: weights,
            normalizer=lambda scores, mask, seed: normalize.identity(scores, mask),
            dropout=self._drop if training and self.dropout else None,
            seed=self._seed(training),
        )
        return context[:, 0], weights[:, 0]


def recurrent(attention):
    """The attention under the protocol of `RecurrentAttention`, whatever it is.

    Args:
        attention: A `RecurrentAttention`, or any layer that is called as
            `attention(query, value, key, value_mask=..., return_attention_scores=True)` and
            treats every query alike, wherever it stands.

    Returns:
        An object with `prepare`, `initial_state`, `step` and `finish`.

    Raises:
        ValueError: for an attention that reads the places of its queries.
    """
    if all(hasattr(attention, name) for name in ("prepare", "initial_state", "step")):
        return attention
    if _reads_places(attention):
        raise ValueError(
            f"`{type(attention).__name__}` reads at which step its query stands, which a query "
            "alone does not tell. Received: "
            f"center={getattr(attention, 'center', None)!r}, "
            f"position={getattr(attention, 'position', None)!r}, score={attention.score!r}"
        )
    if type(attention).call is ContentAttention.call:
        return _ContentSteps(attention)
    return _Steps(attention)


def _reads_places(attention):
    """Whether a query asked alone would get another answer than among others."""
    if getattr(attention, "center", None) == "monotonic" or getattr(attention, "position", None):
        return True
    score = getattr(attention, "score", None)
    parts = [part for part in getattr(score, "scores", [score]) if part is not None]
    return any("start_index" in inspect.signature(part.call).parameters for part in parts)


class _Steps:
    """Calls a layer once a step, with a single query."""

    def __init__(self, attention):
        self.attention = attention

    def prepare(self, value, key=None, mask=None):
        return _prepare(None, value, key, mask)

    def initial_state(self, memory):
        return {}

    def finish(self, state):
        pass

    def step(self, query, memory, state, training=None):
        # The value is the key: a decoder's memory has no keys of its own.
        context, weights = self.attention(
            ops.expand_dims(query, 1),
            memory["value"],
            value_mask=memory.get("mask"),
            return_attention_scores=True,
            training=training,
        )
        return context[:, 0], weights[..., 0, :], state  # heads, if any, stay


class _ContentSteps(_Steps):
    """Content attention, which projects its keys only once."""

    def prepare(self, value, key=None, mask=None):
        return _prepare(self.attention.score, value, key, mask)

    def step(self, query, memory, state, training=None):
        mask = memory.get("mask")
        context, weights = self.attention._attend(
            ops.expand_dims(query, 1),
            memory["value"],
            memory["key"],
            None if mask is None else ops.expand_dims(mask, 1),
            self.attention.score.by_rows()[1],
            training,
        )
        return context[:, 0], weights[:, 0], state


def _prepare(score, value, key, mask):
    blank = masks.blank(value, mask)
    key = blank if key is None else masks.blank(key, mask)
    if score is not None:
        key = score.halves()[0](key)
    memory = {"value": blank, "key": key}
    return memory if mask is None else {**memory, "mask": ops.cast(mask, "bool")}
