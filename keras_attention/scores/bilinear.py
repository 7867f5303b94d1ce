"""Bilinear (Luong's "general") score."""

from typing import Unpack

import keras
from keras import ops

from keras_attention.scores.dot_product import DotProductScore
from keras_attention.types import Initializer, LayerOptions, Regularizer, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class BilinearScore(DotProductScore):
    """Bilinear score (Luong's "general"): a learned bilinear form of query and key.

        score(q, k) = q^T W k      W: (D_query, D_key)

    Takes queries and keys of different sizes. Costs O(T S D_query) time and O(T S) memory.

    Args:
        kernel_initializer: Initializer of W.
        kernel_regularizer: Regularizer of W, or `None`.

    Raises:
        ValueError: If the initializer or regularizer is unknown.

    Example:
        >>> score = ka.BilinearScore()
        >>> score(keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Luong, Pham & Manning, 2015, section 3.1 (general), https://arxiv.org/abs/1508.04025
        As in the paper.
    """

    def __init__(
        self,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, query_shape, key_shape):
        self.query_dense = self._dense(
            key_shape[-1], "query", kernel_regularizer=self.kernel_regularizer
        )
        self.query_dense.build(query_shape)
        self.query_features = query_shape[-1]
        self.built = True

    def prepare_key(self, key: Tensor) -> State:  # once per sequence, also in decoding step by step
        """The keys `(..., S, D_key)` times W: `(..., S, D_query)`."""
        # Through the layer, which may be quantized or have low-rank weights: W = I W.
        kernel = self.query_dense(ops.eye(self.query_features, dtype=key.dtype))
        return ops.matmul(key, ops.transpose(kernel))  # (..., S, D_query)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
