"""Content-based attention, with any score and any normalizer."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Keys
from keras_attention.layers.base import WindowedLayer
from keras_attention.layers.stepwise import Stepwise
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ContentAttention(Stepwise, WindowedLayer):
    """Content-based attention (Bahdanau, Luong): averages the values whose keys score high.

        weights = normalizer(score(query, key));  context = weights value

    Cross-attention where query and value are two sequences. Does what `keras.layers.Attention` and
    `AdditiveAttention` do, with any score: learned ones as in their papers, sparse and hard
    attention, and masks that always count. Costs O(B T S) memory, with the additive score
    O(B T S U). For several heads prefer `MultiHeadAttention`.

    Masking: see the layer contract (docs/contract.md). The query's mask is passed on.

    Args:
        score: `"dot"`, `"scaled_dot"`, `"bilinear"` (or `"general"`), `"cosine"`, `"concat"`,
            `"additive"`, `"tanh_dot"`, `"euclidean"`, `"alibi"`, or an instance of a `Score`, for
            arguments of its own. Scores can be added: `ka.ScaledDotScore() + ka.ALiBiScore()`
            compares content and position.
        normalizer: `"softmax"`, `"sparsemax"`, `"entmax15"`, `"smooth"`, `"hard"`, `"identity"`,
            `"uniform"` (equal weights, to compare with), or a function `(scores, mask) -> weights`
            that treats each row of scores alone (large scores are computed in blocks of rows).
        dropout: Float in `[0, 1)`, the dropout rate of the attention weights in training.
        window: Positive integer W, a sliding window: steps W or more apart do not attend to each
            other; `None` for no window. With a causal mask a step attends to itself and the W - 1
            before it. Costs O(T W) then, unless weights are returned.
        num_global: Integer: the first `num_global` steps attend to, and are attended by, all steps
            despite the window (unless the causal mask hides them).
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask, attention_mask: Boolean masks, as in the contract.
        use_causal_mask, return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one over the allowed steps.

    Raises:
        ValueError: If `score` or `normalizer` is unknown, a number is out of range, or
            `num_global` is given without `window` or called with T != S; if the tensors do not fit
            each other or the score; if a mask has a float dtype or another shape.

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
        score: str | Score = "scaled_dot",
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        *,
        window: int | None = None,
        num_global: int = 0,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
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
        """Averages the values for each query.

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
        mask, query_mask = masks.key_and_query_masks(query, value, *given)
        query, value, key = masks.blank_unseen(query, value, key, *given)
        keys = Keys(key, value, mask, self._rule(use_causal_mask, query, value))
        attention = self._attention(query, keys, self.score, training, query_mask=query_mask)
        context, weights = attend(attention, return_attention_scores)
        return (context, weights) if return_attention_scores else context

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

        Args:
            query: Float tensor `(B, T, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the steps before returned.
            query_mask: Boolean `(B, T)`, or `None`.
            training: Whether to apply dropout and noise.

        Returns:
            The contexts `(B, T, D_value)`, the weights `(B, T, S)` and the last state.
        """
        query, mask = self.floats(query), memory.get("mask")
        query_mask = masks.of_steps("query", query, query_mask=query_mask)
        query = masks.blank(query, query_mask)
        if query_mask is not None:
            query_mask = ops.expand_dims(query_mask, -1)  # (B, T, 1)
        mask = None if mask is None else ops.expand_dims(mask, 1)  # (B, 1, S)
        keys = Keys(memory["key"], memory["value"], mask)
        attention = self._attention(
            query, keys, self.score.compare, training, query_mask=query_mask
        )
        return *attend(attention), state
