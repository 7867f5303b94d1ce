"""Self-attention: one input attends to itself."""

import keras

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import WindowedLayer


@keras.saving.register_keras_serializable(package="keras_attention")
class SelfAttention(WindowedLayer):
    """Each step of one sequence averages the steps of the same sequence.

        weights = normalizer(score(x, x));  context = weights x

    One input and one mask, so it fits `keras.Sequential`. Costs O(B T^2) memory. A dot product of
    a step with itself is large, so the plain scores look mostly at themselves: the default learns
    a bilinear form. For several views at once prefer `MultiHeadAttention`.

    Masking: see the contract at `AttentionLayer`. The input's mask is passed on.

    Args:
        score: As in `ContentAttention`.
        normalizer: As in `ContentAttention`.
        dropout: Float in `[0, 1)`, the fraction of attention weights dropped in training.
        window: Positive integer W: steps W or more apart don't see each other; `None` for all. With
            a causal mask a step sees itself and the W - 1 before it. Costs O(T W) then, unless
            weights are returned.
        num_global: Integer, so many first steps see all steps and are seen by all, despite the
            window (unless the causal mask hides them).
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        inputs: Float tensor `(B, T, D)`.
        mask: Boolean `(B, T)`; Keras fills it from the input's implicit mask.
        inputs_mask: The same mask, by the name under which Keras fills it when other tensors are
            passed as well.
        attention_mask: Boolean `(T, T)` or `(B, T, T)`.
        use_causal_mask: Whether a step sees no later step.
        return_attention_scores: Whether to return the weights too.
        training: Whether to drop weights and to draw hard ones.

    Returns:
        The context `(B, T, D)`; with `return_attention_scores` also the weights `(B, T, T)`, each
        row summing to one over the allowed steps.

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
        score="bilinear",
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

    def build(self, inputs_shape):
        checks.sequence("inputs", inputs_shape)
        self._build_score(inputs_shape, inputs_shape)
        self.built = True

    def call(
        self,
        inputs,
        mask=None,
        inputs_mask=None,
        attention_mask=None,
        use_causal_mask=False,
        return_attention_scores=False,
        training=None,
    ):
        inputs = self.floats(inputs)
        steps = masks.of_steps("inputs", inputs, mask=mask, inputs_mask=inputs_mask)  # (B, T)
        allowed, seen_query = masks.of_pairs(inputs, inputs, steps, steps, None, attention_mask)
        # A step that no query may see may still be a query, and one that sees none still be seen.
        query, value, key = masks.blank_unseen(
            inputs, inputs, None, steps, steps, None, attention_mask
        )
        context, weights = self._attend(
            query,
            value,
            key,
            allowed,
            self.score,
            training,
            query_mask=seen_query,
            rule=self._rule(use_causal_mask, inputs, inputs),
            return_weights=return_attention_scores,
        )
        return (context, weights) if return_attention_scores else context
