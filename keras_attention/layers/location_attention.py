"""Location-based attention."""

from typing import Unpack

import keras

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import AttentionLayer
from keras_attention.scores.location import LocationScore
from keras_attention.types import Initializer, LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class LocationAttention(AttentionLayer):
    """Location-based attention (Luong): weights from the query alone, one per value position.

        weights = normalizer(W query);  context = weights value      W: (D_query, max_length)

    The values are never compared with the query, so there are no keys. The first S columns of W
    are used; an S above `max_length` is an error. Column s belongs to step s of the tensor, so pad
    at the end. Costs O(B T S) memory. For content and location, give `ContentAttention` a sum of
    scores such as `ka.BilinearScore() + ka.LocationScore(50)`; for distances, give it
    `ka.ALiBiScore()` or `ka.RelativePositionScore(8)`.

    Masking: see the layer contract (docs/contract.md). The query's mask is passed on.

    Args:
        max_length: Positive integer, the largest number of value steps.
        kernel_initializer: Initializer of W.
        normalizer, dropout, seed: As in `ContentAttention`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        query_mask, value_mask, attention_mask: Boolean masks, as in the contract.
        use_causal_mask, return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one over the allowed steps.

    Raises:
        ValueError: If `normalizer` is unknown or a number is out of range; if S is above
            `max_length`; if the tensors do not fit each other; if a mask has a float dtype or
            another shape.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.LocationAttention(max_length=8)
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 4), (2, 3, 5))

    Reference:
        Luong, Pham & Manning, 2015, eq. 8 (location), https://arxiv.org/abs/1508.04025
        There the steps beyond `max_length` are ignored; here they are an error.
    """

    def __init__(
        self,
        max_length: int,
        kernel_initializer: Initializer = "glorot_uniform",
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.max_length = checks.positive_integer("max_length", max_length)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, value_shape):
        checks.attention_shapes(query_shape, value_shape, None)
        self.location_score = LocationScore(
            self.max_length, self.kernel_initializer, dtype=self.dtype_policy, name="score"
        )
        self.location_score.build(query_shape, value_shape)
        self.built = True

    def call(
        self,
        query: Tensor,
        value: Tensor,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Averages the values for each query, by their positions.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D_query)`.
            value: Float tensor `(B, S, D_value)`, S at most `max_length`.

        Returns:
            The context `(B, T, D_value)`; with `return_attention_scores` a tuple of it and the
            weights `(B, T, S)`.
        """
        query, value = self.floats(query, value)
        mask = masks.attention(
            query, value, query_mask, value_mask, None, attention_mask, use_causal_mask
        )
        query, value, _ = masks.blank_unseen(
            query, value, None, query_mask, value_mask, None, attention_mask
        )
        context, weights = self._attend(query, value, value, mask, self.location_score, training)
        return (context, weights) if return_attention_scores else context

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
