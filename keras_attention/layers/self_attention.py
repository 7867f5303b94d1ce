"""Self-attention: one input attends to itself."""

from typing import Unpack

import keras

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Keys
from keras_attention.layers.base import WindowedLayer
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class SelfAttention(WindowedLayer):
    """Self-attention: each step of a sequence averages the steps of the same sequence.

        weights = normalizer(score(x, x));  context = weights x

    One input and one mask, so it fits `keras.Sequential`. Costs O(B T^2) memory. The default score
    is bilinear, since by a plain dot product, which is largest with itself, each step attends
    mostly to itself. For several heads prefer `MultiHeadAttention`.

    Masking: see the layer contract (docs/contract.md). The input's mask is passed on.

    Args:
        score, normalizer, dropout, window, num_global, seed: As in `ContentAttention`.

    Call arguments:
        inputs: Float tensor `(B, T, D)`.
        mask, inputs_mask, attention_mask: Boolean masks, as in the contract.
        segment_ids: Integers `(B, T)`, as in the contract.
        use_causal_mask, return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D)`; with `return_attention_scores` also the weights `(B, T, T)`, each
        row summing to one over the allowed steps.

    Raises:
        ValueError: If `score` or `normalizer` is unknown, a number is out of range, or
            `num_global` is given without `window`; if the inputs are not `(B, T, D)` with a known
            D; if a mask has a float dtype or another shape.

    Example:
        >>> layer = ka.SelfAttention()
        >>> layer(keras.ops.ones((2, 3, 4)), use_causal_mask=True).shape == (2, 3, 4)
        True

    Reference:
        Cheng, Dong & Lapata, 2016, section 3.1, https://arxiv.org/abs/1601.06733
        There inside an LSTM; here over a whole sequence, in both directions unless causal.
    """

    def __init__(
        self,
        score: str | Score = "bilinear",
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

    def build(self, inputs_shape):
        checks.sequence("inputs", inputs_shape)
        self._build_score(inputs_shape, inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Averages the steps of a sequence for each of its steps.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            inputs: Float tensor `(B, T, D)`.

        Returns:
            The context `(B, T, D)`; with `return_attention_scores` a tuple of it and the weights
            `(B, T, T)`.
        """
        inputs = self.floats(inputs)
        steps = masks.of_steps("inputs", inputs, mask=mask, inputs_mask=inputs_mask)  # (B, T)
        given = steps, steps, None, attention_mask
        allowed, query_mask = masks.key_and_query_masks(inputs, inputs, *given)
        # A step hidden from all queries may still be a query, and the other way round.
        query, value, key = masks.blank_unseen(inputs, inputs, None, *given)
        segments, of_keys = masks.segments(segment_ids, inputs, inputs)
        rule = self._rule(use_causal_mask, inputs, inputs)
        keys = Keys(key, value, allowed, rule, segments=of_keys)
        attention = self._attention(
            query, keys, self.score, training, query_mask=query_mask, segments=segments
        )
        context, weights = attend(attention, return_attention_scores)
        return (context, weights) if return_attention_scores else context
