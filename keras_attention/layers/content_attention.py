"""Attention by content, with any score and any normalizer."""

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import WindowedLayer
from keras_attention.layers.stepwise import Stepwise


@keras.saving.register_keras_serializable(package="keras_attention")
class ContentAttention(Stepwise, WindowedLayer):
    """Each query step averages the values whose keys score high.

        weights = normalizer(score(query, key));  context = weights value

    `keras.layers.Attention` and `AdditiveAttention` with a choice: learned scores as their papers
    have them, sparse and hard weights, and masks that hold. Costs O(B T S) memory, with the
    additive score O(B T S U). For several views at once prefer `MultiHeadAttention`.

    Masking: see the contract at `AttentionLayer`. The query's mask is passed on.

    Args:
        score: `"dot"`, `"scaled_dot"`, `"bilinear"` (or `"general"`), `"cosine"`, `"concat"`,
            `"additive"`, `"tanh_dot"`, `"euclidean"`, `"alibi"`, or an instance of a `Score`, for
            arguments of its own. Scores add up: `ka.ScaledDotScore() + ka.ALiBiScore()` sees what
            and where.
        normalizer: `"softmax"`, `"sparsemax"`, `"entmax15"`, `"smooth"`, `"hard"`,
            `"identity"`, or a function `(scores, mask) -> weights` of each row alone (large
            scores come some rows at a time).
        dropout: Float in `[0, 1)`, the fraction of attention weights dropped in training.
        window: Positive integer W: steps W or more apart don't see each other; `None` for all. With
            a causal mask a step sees itself and the W - 1 before it. Costs O(T W) then, unless
            weights are returned.
        num_global: Integer, so many first steps see all steps and are seen by all, despite the
            window (unless the causal mask hides them).
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask: Boolean `(B, T)`; a masked query gets a zero context.
        value_mask: Boolean `(B, S)`.
        key_mask: Boolean `(B, S)`.
        attention_mask: Boolean `(T, S)` or `(B, T, S)`.
        use_causal_mask: Whether a query sees no later step; aligned at the end.
        return_attention_scores: Whether to return the weights too (Keras' name for them).
        training: Whether to drop weights and to draw hard ones.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one over the allowed steps.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.ContentAttention(score="additive", normalizer="sparsemax")
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 4), (2, 3, 5))

    Reference:
        Bahdanau, Cho & Bengio, 2015, eq. 5 and 6, https://arxiv.org/abs/1409.0473
        Luong, Pham & Manning, 2015, section 3.1, https://arxiv.org/abs/1508.04025
    """

    def __init__(
        self,
        score="scaled_dot",
        normalizer="softmax",
        dropout=0.0,
        seed=None,
        *,
        window=None,
        num_global=0,
        **kwargs,
    ):
        super().__init__(
            score=score,
            normalizer=normalizer,
            dropout=dropout,
            seed=seed,
            window=window,
            num_global=num_global,
            **kwargs,
        )

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        self._build_score(query_shape, key_shape)
        self.built = True

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        use_causal_mask=False,
        return_attention_scores=False,
        training=None,
    ):
        query, value, key = self.floats(query, value, key)
        mask, seen_query = masks.of_pairs(
            query, value, query_mask, value_mask, key_mask, attention_mask
        )
        query, value, key = masks.blank_unseen(
            query, value, key, query_mask, value_mask, key_mask, attention_mask
        )
        context, weights = self._attend(
            query,
            value,
            key,
            mask,
            self.score,
            training,
            query_mask=seen_query,
            rule=self._rule(use_causal_mask, query, value),
            return_weights=return_attention_scores,
        )
        return (context, weights) if return_attention_scores else context

    def step(self, query, memory, state, training=None):
        """One step of a decoder: see `Stepwise`. Keys are projected once, in `prepare`."""
        query = ops.expand_dims(query, 1)
        context, weights, state = self.steps(query, memory, state, training=training)
        return context[:, 0], weights[:, 0], state

    def steps(self, query, memory, state, query_mask=None, training=None):
        """All steps of a decoder that are known, at once: see `Stepwise`."""
        query, mask = self.floats(query), memory.get("mask")
        query_mask = masks.of_steps("query", query, query_mask=query_mask)
        context, weights = self._attend(
            masks.blank(query, query_mask),
            memory["value"],
            memory["key"],
            None if mask is None else ops.expand_dims(mask, 1),  # (B, 1, S)
            self.score.compare,
            training,
            query_mask=None if query_mask is None else ops.expand_dims(query_mask, -1),
        )
        return context, weights, state
