"""Local attention: soft inside a window, whose centre is known or predicted."""

import dataclasses
from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.dense import Dense
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.layers.base import AttentionLayer
from keras_attention.layers.stepwise import Stepwise
from keras_attention.memory.policy import if_large
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, State, Tensor

CENTERS = ("predictive", "monotonic")


@keras.saving.register_keras_serializable(package="keras_attention")
class LocalAttention(Stepwise, AttentionLayer):
    """Local attention (Luong): each query averages the values near one step, scoring only those.

        monotonic:   p_t = t
        predictive:  p_t = S sigmoid(v . tanh(W q_t))      W: (D_query, U), v: (U)
        weights = normalizer(score(q_t, k_s)) over |s - p_t| <= half_width
        predictive:  weights = weights exp(-(s - p_t)^2 / (2 sigma^2)),  sigma = half_width / 2

    The Gaussian lets the predicted centre learn, and its weights sum to less than one, as in the
    paper. Positions count from 0, of queries as of values, also where T and S differ. S is the
    length of each example, not of the padded tensor: padding is not counted, be it at the end, at
    the beginning or in between. A predicted centre counts the steps that its query may attend to,
    so that under a causal mask it does not depend on the number of later steps. A monotonic centre
    counts the steps that any query may attend to, and as t the queries that are not masked. A query
    whose window holds no allowed step gets zeros.

    Costs O(B T S) memory where that is small or the weights are returned, else O(B T W D) for
    windows of W steps.

    Both centres work in an `AttentionDecoder`. Its state then counts the queries of each row for a
    monotonic centre; a masked input step is not counted.

    Masking: see the layer contract (docs/contract.md). The query's mask is passed on.

    Args:
        half_width: Positive integer, the number of steps on each side of the centre.
        score: As in `ContentAttention`.
        center: `"predictive"` (the paper's local-p) or `"monotonic"` (local-m), for sequences that
            are roughly aligned step by step.
        units: Positive integer U, the size of the hidden layer that predicts the centre; `None`
            for the size of the query, and for `"monotonic"`, which has none.
        normalizer: As in `ContentAttention`.
        dropout: Float in `[0, 1)`, the dropout rate of the attention weights in training.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask, attention_mask: Boolean masks, as in the contract.
        use_causal_mask, return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one in a monotonic window and to less in a predicted one.

    Raises:
        ValueError: If `center`, `score` or `normalizer` is unknown or a number is out of range; if
            a monotonic centre is given `units`; if the tensors do not fit each other or the score;
            if a mask has a float dtype or another shape.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.LocalAttention(half_width=1, score="bilinear")
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape), tuple(layer.centers(query, value).shape)
        ((2, 3, 4), (2, 3, 5), (2, 3))

    Reference:
        Luong, Pham & Manning, 2015, section 3.2, eq. 9 and 10, https://arxiv.org/abs/1508.04025
        As in the paper, with steps counted from 0.
    """

    def __init__(
        self,
        half_width: int,
        score: str | Score = "scaled_dot",
        center: str = "predictive",
        units: int | None = None,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.half_width = checks.positive_integer("half_width", half_width)
        if center not in CENTERS:
            raise ValueError(
                f"`center` must be one of {', '.join(map(repr, CENTERS))}. "
                f"Received: center={center!r}"
            )
        self.center = center
        self.units = checks.positive_integer("units", units, optional=True)
        if center == "monotonic" and units is not None:
            raise ValueError(
                f"A monotonic centre has no hidden layer. Received: center={center!r}, "
                f"units={units}"
            )

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        self._build_score(query_shape, key_shape)
        if self.center == "predictive":
            units = self.units or query_shape[-1]
            # In float32 at least: bfloat16 cannot tell position 300 from 301.
            options = {"use_bias": False, "dtype": self.state_dtype}
            self.hidden_dense = Dense(units, "tanh", name="center_hidden", **options)
            self.center_dense = Dense(1, name="center", **options)
            self.hidden_dense.build(query_shape)
            self.center_dense.build((*query_shape[:-1], units))
        self.built = True

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Averages, for each query, the values in its window.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D_query)`.
            value: Float tensor `(B, S, D_value)`.
            key: Float tensor `(B, S, D_key)`; the value if `None`.

        Returns:
            The context `(B, T, D_value)`; with `return_attention_scores` a tuple of it and the
            weights `(B, T, S)`.
        """
        query, value, key = self.floats(query, value, key)
        given = query_mask, value_mask, key_mask, attention_mask
        tensors = [query, value] if key is None else [query, value, key]

        def attend_to_all(tensors, seed):
            query, value, *key = tensors
            key = key[0] if key else None
            seen, mask, steps, centers = self._locate(query, value, key, *given, use_causal_mask)
            query, value, key = seen
            keys = Keys(self.score.prepare_key(key), value, mask)
            return self._average(query, keys, steps - centers, seed)

        def attend_near(tensors, seed):
            query, value, *key = tensors
            key = key[0] if key else None
            seen = masks.blank_unseen(query, value, key, *given)
            return self._attend_near(*seen, *given[:3], use_causal_mask, seed)

        seed = self._seed(training)
        if return_attention_scores:
            return attend_to_all(tensors, seed)
        # A score of positions needs all keys, each at its own.
        score = self.score
        if attention_mask is not None or score.uses_positions or not score.is_relative:
            return attend_to_all(tensors, seed)[0]
        batch, steps = ops.shape(query)[:2]
        length = ops.shape(value)[1]
        # Near keys and values are copied for each query: only where that is less than its scores.
        copied = self._width * ((value if key is None else key).shape[-1] + value.shape[-1])
        # A symbol for an unknown length cannot be compared.
        is_known = isinstance(length, int) or ops.is_tensor(length)
        return if_large(
            [batch, steps, length, 4 * self.score.pair_size],
            attend_near,
            lambda tensors, seed: attend_to_all(tensors, seed)[0],
            tensors,
            seed,
            self.weights,
            condition=is_known and length > copied,
        )

    def initial_state(self, memory: State) -> State:
        """The state before the first step.

        Args:
            memory: What `prepare` returned.

        Returns:
            For monotonic centres a dict of `"asked"` `(B,)`, the number of queries so far; else
            `{}`.
        """
        if self.center == "predictive":
            return {}
        return {"asked": ops.zeros(ops.shape(memory["value"])[:1], "int32")}  # (B,)

    def step(
        self, query: Tensor, memory: State, state: State, training: bool | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from one query per row, as a decoder does.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        query = ops.expand_dims(query, 1)
        context, weights, state = self.steps(query, memory, state, training=training)
        return context[:, 0], weights[:, 0], state

    def steps(
        self,
        query: Tensor,
        memory: State,
        state: State,
        query_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from many queries at once; the same as `step` for each of them.

        A masked query gets zeros, and a monotonic centre does not count it.

        Args:
            query: Float tensor `(B, T, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the steps before returned.
            query_mask: Boolean `(B, T)`, or `None`.
            training: Whether to apply dropout and noise.

        Returns:
            The contexts `(B, T, D_value)`, the weights `(B, T, S)` and the last state.
        """
        query, visible = self.floats(query), memory.get("mask")
        query_mask = masks.of_steps("query", query, query_mask=query_mask)
        query = masks.blank(query, query_mask)
        positions, length = self._count(visible, memory["value"])  # (B or none, S) and (..., 1)
        if self.center == "monotonic":
            asked, more = self._count(query_mask, query)  # (B or none, T) and (B or none, 1)
            before = ops.expand_dims(state["asked"], -1)  # (B, 1)
            centers = ops.expand_dims(asked + ops.cast(before, asked.dtype), -1)  # (B, T, 1)
            state = {"asked": (before + ops.cast(more, "int32"))[:, 0]}
        else:
            centers = ops.expand_dims(length, -1) * self._predict(query)
        offset = ops.expand_dims(positions, -2) - centers  # (B, T, S)
        if query_mask is not None:
            query_mask = ops.expand_dims(query_mask, -1)
        if visible is not None:
            visible = ops.expand_dims(visible, 1)
        mask = masks.combine(query_mask, visible)
        keys = Keys(memory["key"], memory["value"], mask)
        context, weights = self._average(query, keys, offset, self._seed(training))
        return context, weights, state

    @property
    def _width(self):
        return 2 * self.half_width + 1

    def _predict(self, query):
        """The centres that queries predict, `(B, T, 1)`: from 0, the first key, to 1, the last."""
        return ops.sigmoid(self.center_dense(self.hidden_dense(query)))

    def _average(self, query, keys, offset, seed):
        """Context and weights over prepared keys at an `offset` from the centres."""

        def normalize_near(scores, mask, seed):
            weights = self._normalize(scores, mask, seed)
            if self.center == "monotonic":
                return weights
            sigma = self.half_width / 2
            return ops.cast(weights, offset.dtype) * ops.exp(-0.5 * ops.square(offset / sigma))

        dropout = self._drop if self.dropout and seed is not None else None
        steps = Steps(self.score.compare, normalize_near, dropout)
        mask = masks.combine(keys.mask, masks.window(offset, self.half_width))  # (B, T, S)
        keys = dataclasses.replace(keys, mask=mask)
        return attend(Attention(steps, query, keys, seed=seed))

    def _attend_near(
        self, query, value, key, query_mask, value_mask, key_mask, use_causal_mask, seed
    ):
        """The context alone, from the steps in each query's window alone: `(B, T, W)` of them."""
        steps, total = ops.shape(query)[1], ops.shape(value)[1]
        visible = masks.of_steps("value", value, value_mask=value_mask, key_mask=key_mask)
        if visible is None:
            visible = ops.ones((1, total), dtype="bool")
        # The position of the n-th visible step, and the count of those up to each step.
        visible_positions = ops.argsort(
            ops.where(visible, 0, total) + ops.arange(total, dtype="int32"), axis=-1
        )  # (B or 1, S)
        count = ops.cumsum(ops.cast(visible, "int32"), axis=-1)
        last = ops.arange(steps, dtype="int32") + (total - steps if use_causal_mask else total)
        seen = ops.where(
            last < 0, 0, ops.take(count, ops.clip(last, 0, total - 1), axis=1)
        )  # (B or 1, T), the count of steps that each query may see
        if self.center == "monotonic":
            centers = self._count(query_mask, query)[0]  # (B or, without a mask, none, T)
            centers = ops.broadcast_to(centers, ops.shape(query)[:2])
        else:
            relative = ops.squeeze(self._predict(query), -1)  # (B, T)
            centers = ops.cast(seen, relative.dtype) * relative
        low = ops.ceil(centers - self.half_width)  # (B, T)
        width = ops.arange(self._width, dtype="int32")  # (W,)
        near = ops.expand_dims(low, -1) + ops.cast(width, low.dtype)  # (B, T, W)
        offset = near - ops.expand_dims(centers, -1)  # (B, T, W)
        near = ops.cast(near, "int32")
        allowed = ops.logical_and(near >= 0, near < ops.expand_dims(seen, -1))  # (B, T, W)
        if query_mask is not None:
            allowed = ops.logical_and(allowed, ops.expand_dims(query_mask, -1))
        batch = ops.shape(query)[0]
        flat = ops.reshape(ops.clip(near, 0, total - 1), (batch, steps * self._width))  # (B, T W)
        visible_positions = ops.broadcast_to(visible_positions, (batch, total))  # (B, S)
        flat = ops.cast(flat, visible_positions.dtype)
        flat = ops.take_along_axis(visible_positions, flat, axis=1)  # (B, T W)

        def gather(x):
            """`(B, S, D)` to `(B, T, W, D)`."""
            gathered = ops.take_along_axis(x, ops.expand_dims(flat, -1), axis=1)  # (B, T W, D)
            return ops.reshape(gathered, (batch, steps, self._width, x.shape[-1]))

        key = keras.tree.map_structure(gather, self.score.prepare_key(key))
        allowed, offset, query = (ops.expand_dims(x, 2) for x in (allowed, offset, query))
        context, _ = self._average(query, Keys(key, gather(value), allowed), offset, seed)
        return ops.squeeze(context, 2)  # (B, T, 1, D_value) to (B, T, D_value)

    def centers(
        self,
        query: Tensor,
        value: Tensor,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
    ) -> Tensor:
        """The centres p_t of the windows; the layer must be built.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D_query)`.
            value: Float tensor `(B, S, D_value)`.

        Returns:
            Positions, float32 `(B, T)`, which count from 0 and leave out padding.

        Raises:
            ValueError: If a mask does not fit.
        """
        query, value = self.floats(query, value)
        given = query_mask, value_mask, key_mask, attention_mask
        *_, centers = self._locate(query, value, None, *given, use_causal_mask)
        return ops.broadcast_to(ops.squeeze(centers, -1), ops.shape(query)[:2])

    def get_config(self):
        return {
            **super().get_config(),
            "half_width": self.half_width,
            "center": self.center,
            "units": self.units,
        }

    def _locate(
        self, query, value, key, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
    ):
        """Query, value and key with zeros where unseen, the whole mask, the positions of the value
        steps `(B or 1, T or 1, S)`, and the centres.
        """
        if attention_mask is not None:
            # To the size of the scores: its steps are counted, and one must not count for all.
            checks.attention_mask(attention_mask, query, value)
            pairs = ops.ones((ops.shape(query)[1], ops.shape(value)[1]), dtype="bool")
            attention_mask = ops.logical_and(attention_mask, pairs)
        given = query_mask, value_mask, key_mask, attention_mask
        mask = masks.attention(query, value, *given, use_causal_mask)
        if mask is not None:
            full = ops.ones((ops.shape(query)[1], ops.shape(value)[1]), dtype="bool")
            mask = ops.logical_and(mask, full)
        seen = query, value, key = masks.blank_unseen(query, value, key, *given)
        if self.center == "monotonic":
            visible = masks.seen(value_mask, key_mask, attention_mask)
            steps = ops.expand_dims(self._count(visible, value)[0], -2)
            return seen, mask, steps, ops.expand_dims(self._count(query_mask, query)[0], -1)
        steps, length = self._count(mask, value)
        return seen, mask, steps, length * self._predict(query)

    def _count(self, mask, x):
        """Positions from 0 of the allowed steps, `(..., S)`, and their count `(..., 1)`."""
        mask = ops.ones(ops.shape(x)[1:2]) if mask is None else mask
        mask = ops.cast(mask, self.state_dtype)
        return ops.cumsum(mask, axis=-1) - 1.0, ops.sum(mask, axis=-1, keepdims=True)
