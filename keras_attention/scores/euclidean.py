"""Euclidean match score."""

import keras
from keras import ops

from keras_attention.scores.score import Score
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class EuclideanScore(Score):
    """Euclidean match score (ABCNN): 1 for equal vectors, close to 0 for distant ones.

        score(q, k) = 1 / (1 + |q - k|)

    No weights; queries and keys have the same size D. The scores lie in (0, 1], so their softmax
    is almost uniform: use them as weights (`normalizer="identity"`). For equal vectors, where the
    distance has no gradient, the gradient is zero. Costs O(T S D) time and memory: the differences
    are computed, so that equal vectors have a distance of exactly zero.

    Raises:
        ValueError: If query and key differ in size.

    Example:
        >>> x = keras.ops.array([[[0.0, 0.0], [3.0, 4.0]]])
        >>> print(keras.ops.convert_to_numpy(ka.EuclideanScore()(x, x)).round(3))
        [[[1.    0.167]
          [0.167 1.   ]]]

    Reference:
        Yin et al., 2016, section 4.1 (match-score), https://arxiv.org/abs/1512.05193
        As in the paper.
    """

    def build(self, query_shape, key_shape):
        self.check_same_size(query_shape, key_shape)
        self.built = True

    def compare(self, query: Tensor, key: Tensor, start: int | Tensor) -> Tensor:
        """The scores `(..., T, S)`; see `Score.compare`."""
        wide = "float64" if self.compute_dtype == "float64" else "float32"  # squares overflow
        query, key = ops.cast(query, wide), ops.cast(key, wide)
        difference = ops.expand_dims(query, -2) - ops.expand_dims(key, -3)  # (..., T, S, D)
        square = ops.sum(ops.square(difference), axis=-1)  # (..., T, S)
        # The gradient of the root is infinite at 0, and infinity times zero is NaN: never take the
        # root of 0, not even where `where` drops the result.
        is_apart = ops.greater(square, 0)
        distance = ops.where(is_apart, ops.sqrt(ops.where(is_apart, square, 1.0)), 0.0)
        return ops.cast(1.0 / (1.0 + distance), self.compute_dtype)
