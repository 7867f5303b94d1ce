"""Scaled dot-product score."""

import math

import keras

from keras_attention.scores.dot_product import DotProductScore


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaledDotScore(DotProductScore):
    """Scaled dot-product score (Vaswani): the dot product over the square root of its size.

        score(q, k) = q . k / sqrt(D)

    No weights; queries and keys have the same size D. Costs O(T S D) time and O(T S) memory.

    Raises:
        ValueError: If query and key differ in size.

    Example:
        >>> score = ka.ScaledDotScore()
        >>> score(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Vaswani et al., 2017, eq. 1, https://arxiv.org/abs/1706.03762
        As in the paper.
    """

    def build(self, query_shape, key_shape):
        self.check_same_size(query_shape, key_shape)
        self.dot_scale = 1.0 / math.sqrt(query_shape[-1])
        self.built = True
