"""Attention pooling of the features of a convolution."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.attention_pooling import AttentionPooling
from keras_attention.scores.score import Score
from keras_attention.types import Activation, LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ConvAttentionPooling(AttentionPooling):
    """Attention pooling of the features of a convolution, by a learned or a given query.

        features = activation(convolution(value))
        weights = normalizer(score(query, features));  output = weights features

    Weighs the n-grams of a text, where max pooling keeps the largest. The query is learned, or
    given in the call: another view of the same text, such as the last state of an LSTM. Costs
    O(B Q S) memory for Q queries, and O(B S F) for F filters.

    Masking: see the layer contract (docs/contract.md). The convolution reads zeros at masked steps,
    as beyond the ends of the text, and their own features get no weight. The output has no steps
    and no mask.

    Args:
        filters: Positive integer F, the number of features.
        kernel_size: Positive integer, the number of steps that a feature covers.
        activation: Activation of the features.
        num_queries, penalty: As in `AttentionPooling`.
        score, normalizer, dropout, seed: As in `ContentAttention`.

    Call arguments:
        value: Float tensor `(B, S, D)`.
        query: `None` for the learned query, or a float tensor `(B, D_query)` or `(B, Q, D_query)`.
        query_mask: As in `AttentionPooling`.
        mask, value_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The average `(B, F)`, or `(B, Q, F)` for a given query of three axes or several learned
        ones; with `return_attention_scores` also the weights `(B, S)` or `(B, Q, S)`, each row
        summing to one over the allowed steps.

    Raises:
        ValueError: As in `AttentionPooling`; also if `activation` is unknown.

    Example:
        >>> words = keras.ops.ones((2, 5, 4))
        >>> sentence = keras.layers.LSTM(6)(words)
        >>> layer = ka.ConvAttentionPooling(filters=8, kernel_size=3, score="additive")
        >>> vector, weights = layer(words, sentence, return_attention_scores=True)
        >>> tuple(vector.shape), tuple(weights.shape)
        ((2, 8), (2, 5))

    Reference:
        Er, Zhang, Wang & Pratama, 2016, https://doi.org/10.1016/j.ins.2016.08.084
        There the query is a bidirectional LSTM's vector; the score is a choice here.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        activation: Activation = "relu",
        num_queries: int = 1,
        score: str | Score = "tanh_dot",
        normalizer: Normalizer = "softmax",
        penalty: float = 0.0,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_queries, score, normalizer, penalty, dropout, seed, **kwargs)
        self.filters = checks.positive_integer("filters", filters)
        self.kernel_size = checks.positive_integer("kernel_size", kernel_size)
        self.activation = keras.activations.get(activation)

    def build(self, value_shape, query_shape=None):
        checks.sequence("value", value_shape)
        self.convolution = keras.layers.Conv1D(
            self.filters,
            self.kernel_size,
            padding="same",
            activation=self.activation,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build(value_shape)
        super().build((*value_shape[:2], self.filters), query_shape)

    def call(
        self,
        value: Tensor,
        query: Tensor | None = None,
        mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Averages the features of a convolution over the steps.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            value: Float tensor `(B, S, D)`.
            query: `None` for the learned query, or a float tensor `(B, D_query)` or
                `(B, Q, D_query)`.

        Returns:
            The average `(B, F)`, or `(B, Q, F)` for several queries; with `return_attention_scores`
            a tuple of it and the weights, `(B, S)` or `(B, Q, S)`.
        """
        value, query = self.floats(value, query)
        value_mask = masks.of_steps("value", value, mask=mask, value_mask=value_mask)
        return super().call(
            self._features(masks.blank(value, value_mask)),  # (B, S, F)
            query,
            value_mask=value_mask,
            query_mask=query_mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )

    def _features(self, value):
        if 0 in tuple(value.shape[:2]):  # TensorFlow's convolution fails on nothing
            return ops.zeros((*ops.shape(value)[:2], self.filters), self.compute_dtype)
        return self.convolution(value)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
        }
