"""Attention pooling: from a sequence to a vector."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import AttentionLayer
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionPooling(AttentionLayer):
    """Attention pooling: averages the steps of a sequence by a learned or a given query.

        weights = normalizer(score(query, key));  output = weights value

    Where `GlobalAveragePooling1D` has equal weights, this layer learns them; an empty sequence
    gives zeros. Several learned queries give a matrix, the structured self-attentive embedding.
    Costs O(B Q S) memory for Q queries.

    Masking: see the layer contract (docs/contract.md). The output has no steps and no mask.

    Args:
        num_queries: Positive integer Q, the number of learned queries; not used if the call gives
            a query.
        score: As in `ContentAttention`. The default `"tanh_dot"` is the papers' score.
        normalizer, dropout, seed: As in `ContentAttention`.
        penalty: Number of at least 0, the strength of the penalty that makes several queries attend
            to different steps: `penalty * |A A^T - I|^2` (squared Frobenius norm, mean over
            the batch), added to the model's loss. A is the matrix of weights `(Q, S)`. Under a
            `keras.RematScope` an added loss has no gradient, in any Keras layer.

    Call arguments:
        value: Float tensor `(B, S, D_value)`.
        query: `None` for the learned query, or a float tensor `(B, D_query)` or `(B, Q, D_query)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask: Boolean `(B, Q)` for a given query of three axes, `(B,)` for one of two.
        mask, value_mask, key_mask, attention_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The average `(B, D_value)`, or `(B, Q, D_value)` for a given query of three axes or several
        learned ones; with `return_attention_scores` also the weights `(B, S)` or `(B, Q, S)`, each
        row summing to one over the allowed steps.

    Raises:
        ValueError: If `score` or `normalizer` is unknown or a number is out of range; if the
            tensors do not fit each other or the score; if a mask has a float dtype or another
            shape; if a layer built without a given query is called with one, or the reverse.

    Example:
        >>> vector, weights = ka.AttentionPooling()(
        ...     keras.ops.ones((2, 5, 4)), return_attention_scores=True
        ... )
        >>> tuple(vector.shape), tuple(weights.shape)
        ((2, 4), (2, 5))

    Reference:
        Yang et al., 2016, eq. 5 to 7, https://aclanthology.org/N16-1174
        Lin et al., 2017, eq. 5 to 8, https://arxiv.org/abs/1703.03130
        As in the papers.
    """

    def __init__(
        self,
        num_queries: int = 1,
        score: str | Score = "tanh_dot",
        normalizer: Normalizer = "softmax",
        penalty: float = 0.0,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.num_queries = checks.positive_integer("num_queries", num_queries)
        self.penalty = checks.non_negative("penalty", penalty)

    def build(self, value_shape, query_shape=None, key_shape=None):
        key_shape = checks.attention_shapes(None, value_shape, key_shape)
        if query_shape is None:
            size = self.score.query_size(key_shape[-1])
            # A query of zeros would leave the score without a gradient, so it starts random.
            self.query = self.add_weight(
                name="query", shape=(self.num_queries, size), initializer="glorot_uniform"
            )
            query_shape = (1, self.num_queries, size)
        elif len(query_shape) not in (2, 3) or query_shape[-1] is None:
            raise ValueError(
                "`query` must have the shape (batch, features) or (batch, queries, features) "
                f"with a known number of features. Received: query_shape={tuple(query_shape)}"
            )
        else:
            self.query = None
        self._build_score((query_shape[0], None, query_shape[-1]), key_shape)
        self.built = True

    def call(
        self,
        value: Tensor,
        query: Tensor | None = None,
        key: Tensor | None = None,
        mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Averages the steps of a sequence.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            value: Float tensor `(B, S, D_value)`.
            query: `None` for the learned query, or a float tensor `(B, D_query)` or
                `(B, Q, D_query)`.
            key: Float tensor `(B, S, D_key)`; the value if `None`.

        Returns:
            The average `(B, D_value)`, or `(B, Q, D_value)` for several queries; with
            `return_attention_scores` a tuple of it and the weights, `(B, S)` or `(B, Q, S)`.
        """
        if (query is None) != (self.query is not None):
            built, called = ("without", "with") if query is not None else ("with", "without")
            raise ValueError(
                f"`{self.name}` was built {built} a given `query` and is now called {called} one."
            )
        value, query, key = self.floats(value, query, key)
        use_one_query = self.num_queries == 1 if query is None else len(query.shape) == 2
        if query is None:
            query = ops.expand_dims(ops.cast(self.query, value.dtype), 0)  # (1, Q, D_query)
        elif len(query.shape) == 2:
            query = ops.expand_dims(query, 1)  # (B, 1, D_query)
            if query_mask is not None and len(query_mask.shape) == 1:  # as an embedding of (B,) has
                query_mask = ops.expand_dims(query_mask, 1)  # (B, 1)

        value_mask = masks.of_steps("value", value, mask=mask, value_mask=value_mask)
        allowed = masks.attention(query, value, query_mask, value_mask, key_mask, attention_mask)
        query, value, key = masks.blank_unseen(
            query, value, key, query_mask, value_mask, key_mask, attention_mask
        )
        pooled, weights = self._attend(query, value, key, allowed, self.score, training)
        if self.penalty:
            self.add_loss(self.penalty * _overlap(weights))
        if use_one_query:
            pooled, weights = ops.squeeze(pooled, 1), ops.squeeze(weights, 1)
        return (pooled, weights) if return_attention_scores else pooled

    def compute_mask(self, *args, **kwargs):
        return None  # the output has no steps

    def get_config(self):
        return {
            **super().get_config(),
            "num_queries": self.num_queries,
            "penalty": self.penalty,
        }


def _overlap(weights):
    """`|A A^T - I|^2` for A = weights `(B, Q, S)`, mean over the batch."""
    weights = ops.cast(weights, keras.config.floatx())
    product = ops.matmul(weights, ops.swapaxes(weights, -1, -2))  # (B, Q, Q)
    difference = product - ops.eye(product.shape[-1], dtype=product.dtype)
    return ops.mean(ops.sum(ops.square(difference), axis=(-1, -2)))
