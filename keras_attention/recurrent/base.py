"""The base of the attentions whose weights may depend on those of the steps before."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, normalize
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.layers.base import AttentionLayer
from keras_attention.layers.stepwise import Stepwise, prepare
from keras_attention.recurrent.time_loop import hold, time_loop
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, State, Tensor

KERAS_OWN = keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention


class RecurrentAttention(Stepwise, AttentionLayer):
    """Base of the attentions whose weights depend on earlier ones: queries go one after another.

    A subclass defines one step; `call` runs it over a whole sequence of queries, and
    `AttentionDecoder` over the outputs of its cell. The protocol, for batch B, S value steps:

        memory = prepare(value, key, mask)                         once per sequence
        state = initial_state(memory)                              before the first step
        context, weights, state = step(query, memory, state)       (B, D_value), (B, S)

    Memory and state are dicts (or structures) of tensors whose first axis is the batch, so that a
    search can select rows; dtypes and shapes of the state never change. A tensor that is not
    needed is left out, not `None`: without a mask there is no `memory["mask"]`. Sums over many
    steps are kept in `self.state_dtype`.

    These methods run inside the `call` of another layer as well as alone: cast a weight of your own
    to the dtype of the tensor that it meets, `ops.cast(self.kernel, query.dtype)`. A step draws its
    random numbers, if any, from `self.seed_generator`, and calls no `add_loss`: put what a loss
    needs into the state, and add it in `finish(state)`, which is called after the last step. Where
    a sequence comes in several calls, each continues from `resume(state)` of the state before:
    let it set to zero what the loss of one call counts.

    A subclass that has a `call` of its own must have a `step` that computes the same.

    An attention that needs the decoder's cell sets `uses_cell_state = True`. Its `step` and `call`
    then take one more argument `cell_state`, a dict of `"inputs"` `(B, D)`, the cell's input at
    this step, and of `"previous"` and `"current"`, flat lists of the cell's states before and after
    this step; and its `build` takes `cell_state_shape`, the same with shapes.

    Masking: see the layer contract (docs/contract.md). A masked query gets zeros and leaves the
    state unchanged.

    Args:
        score: As in `ContentAttention`, but not one of positions; `None` for a layer with a score
            of its own.
        normalizer, dropout, seed: As in `ContentAttention`.

    Raises:
        ValueError: If a name is unknown or a number out of range; if the score is one of positions,
            such as `ALiBiScore`, alone or in a sum.
    """

    uses_cell_state = False

    def __init__(
        self,
        score: str | Score | None = None,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        check_reads_no_position(self)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        if self.score is not None:
            self._build_score(query_shape, key_shape)
        self.built = True

    def step(
        self, query: Tensor, memory: State, state: State, training: bool | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from one query per row; a subclass must define it.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        raise NotImplementedError(f"`{type(self).__name__}` must define `step`.")

    def steps(
        self,
        query: Tensor,
        memory: State,
        state: State,
        query_mask: Tensor | None = None,
        training: bool | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from all queries of a sequence, in order.

        Args:
            query: Float tensor `(B, T, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the steps before returned.
            query_mask: Boolean `(B, T)`, or `None`. A masked query gets zeros and leaves the state
                unchanged.
            training: Whether to apply dropout and noise.
            others: Further arguments of `step`, structures of tensors `(B, T, _)`.

        Returns:
            The contexts `(B, T, D_value)`, the weights `(B, T, S)` and the last state.
        """

        def step(inputs, state):
            query, others, mask = inputs
            *outputs, new = self.step(query, memory, state, training=training, **others)
            outputs = tuple(outputs)  # (B, D_value) and (B, S)
            zeros = tuple(map(ops.zeros_like, outputs))
            return hold(mask, outputs, zeros), hold(mask, new, state)

        query_mask = masks.of_steps("query", query, query_mask=query_mask)
        seen = keras.tree.map_structure(lambda x: masks.blank(x, query_mask), (query, others))
        layer = self if training else None
        (context, weights), state = time_loop(
            step, (*seen, query_mask), state, layer=layer, training=bool(training)
        )
        return context, weights, state

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Attends from each query in order, each with the state that the one before left.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D_query)`.
            value: Float tensor `(B, S, D_value)`.
            key: Float tensor `(B, S, D_key)`; the value if `None`.

        Returns:
            The context `(B, T, D_value)`; with `return_attention_scores` a tuple of it and the
            weights `(B, T, S)`.
        """
        query = self.floats(query)
        memory = self._prepare_call(value, key, value_mask, key_mask)
        state = self.initial_state(memory)
        context, weights, state = self.steps(query, memory, state, query_mask, training)
        self.finish(state)
        return (context, weights) if return_attention_scores else context

    def _prepare_call(self, value, key, value_mask, key_mask):
        mask = masks.of_steps("value", value, value_mask=value_mask, key_mask=key_mask)
        return self.prepare(value, key, mask)

    def _attend_once(self, query, memory, score, training=None):
        """`attend` for a single query `(B, D_query)`; `score` sees it as `(B, 1, D_query)`."""
        mask = memory.get("mask")
        mask = None if mask is None else ops.expand_dims(mask, 1)  # (B, 1, S)
        attention = self._attention(
            ops.expand_dims(query, 1),  # (B, 1, D_query)
            Keys(memory["key"], memory["value"], mask),
            lambda query, key, start: score(query, key),
            training,
        )
        context, weights = attend(attention)  # (B, 1, D_value) and (B, 1, S)
        return context[:, 0], weights[:, 0]

    def _average(self, weights, memory, training=None):
        """Context and weights of a step whose weights `(B, S)` are known, masked and all."""
        attention = Attention(
            Steps(
                score=lambda weights, key, start: weights,
                normalize=lambda scores, mask, seed: normalize.identity(scores, mask),
                dropout=self._drop if training and self.dropout else None,
            ),
            query=ops.expand_dims(weights, 1),  # (B, 1, S)
            keys=Keys(memory["key"], memory["value"]),
            seed=self._seed(training),
        )
        context, weights = attend(attention)  # (B, 1, D_value) and (B, 1, S)
        return context[:, 0], weights[:, 0]


def recurrent(attention):
    """The attention under the protocol of `Stepwise`, whatever it is.

    Args:
        attention: An attention that takes steps, or any layer that is called as
            `attention(query=..., value=..., value_mask=..., return_attention_scores=True)` and
            treats every query alike, wherever it stands.

    Returns:
        An object with `prepare`, `initial_state`, `resume`, `step`, `steps` and `finish`.

    Raises:
        ValueError: For an attention that reads the positions of its queries, or one with a past
            whose `step` is not that of its `call`.
    """
    check_reads_no_position(attention)
    if getattr(attention, "takes_steps", False):
        return attention
    if isinstance(attention, RecurrentAttention):
        name = type(attention).__name__
        raise ValueError(
            f"`{name}` must define a `step` that computes what its `call` does. Received: `{name}` "
            f"with a `call` of its own and the `step` of another class"
        )
    return _Stepped(attention)


def build_attention(attention, query_shape, memory_shape, dtype):
    """Builds an attention for a decoder, unless it is built; returns the size of its context.

    Raises:
        ValueError: For a layer that is not called with `query` and `value`, or cannot return its
            weights.
    """
    if getattr(attention, "takes_steps", False):
        if not attention.built:  # a loaded one comes built
            attention.build(query_shape, memory_shape)
        return memory_shape[-1]
    query, value = (keras.KerasTensor(shape, dtype) for shape in (query_shape, memory_shape))
    try:
        if not attention.built:
            attention.build(query_shape, memory_shape)
        outputs = attention.compute_output_spec(
            query=query, value=value, return_attention_scores=True
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`attention` must be a layer called with `query` and `value` that can return its "
            "weights, by `return_attention_scores`. Received: "
            f"attention={attention!r}, which says: {error}"
        ) from error
    return keras.tree.flatten(outputs)[0].shape[-1]


def check_reads_no_position(attention):
    """Raises a `ValueError` for a layer whose answer depends on the position of its query."""
    given = {name: getattr(attention, name, None) for name in ("window", "position", "score")}
    if isinstance(attention, KERAS_OWN):
        given["sliding_window"] = attention.get_config().get("sliding_window")
    if not given.get("sliding_window") and not getattr(attention, "uses_positions", False):
        return
    given = ", ".join(f"{name}={x!r}" for name, x in given.items() if x is not None)
    raise ValueError(
        f"`{type(attention).__name__}` reads at which step its query stands, which a query "
        f"alone does not tell. Received: {given}"
    )


class _Stepped:
    """Calls a layer with one query per step, or with all of them."""

    def __init__(self, attention):
        self.attention = attention

    def prepare(self, value, key=None, mask=None):
        return prepare(None, value, key, mask)

    def initial_state(self, memory):
        return {}

    def resume(self, state):
        return state

    def finish(self, state):
        pass

    def step(self, query, memory, state, training=None):
        context, weights, state = self.steps(
            ops.expand_dims(query, 1), memory, state, training=training
        )
        return context[:, 0], weights[..., 0, :], state  # heads, if any, stay

    def steps(self, query, memory, state, query_mask=None, training=None):
        given = {"query_mask": query_mask, "value_mask": memory.get("mask")}
        # The value is the key: a decoder's memory has no keys of its own.
        context, weights = self.attention(
            query=query,
            value=memory["value"],
            **{name: mask for name, mask in given.items() if mask is not None},
            return_attention_scores=True,
            training=training,
        )
        return context, weights, state
