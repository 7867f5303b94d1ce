"""Dot-product score."""

import keras

from keras_attention.scores.dot_product import DotProductScore


@keras.saving.register_keras_serializable(package="keras_attention")
class DotScore(DotProductScore):
    """Dot-product score (Luong's "dot"): the dot product of query and key.

        score(q, k) = q . k

    No weights; queries and keys have the same size D. Costs O(T S D) time and O(T S) memory.
    Its values grow with D: prefer `ScaledDotScore` for large D.

    Raises:
        ValueError: If query and key differ in size.

    Example:
        >>> ka.DotScore()(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Luong, Pham & Manning, 2015, section 3.1 (dot), https://arxiv.org/abs/1508.04025
        As in the paper.
    """

    def build(self, query_shape, key_shape):
        self.check_same_size(query_shape, key_shape)
        self.built = True
