"""Location score."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.functional.shapes import known_size
from keras_attention.scores.score import Score
from keras_attention.types import Initializer, LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class LocationScore(Score):
    """Location-based score (Luong): from the query alone, one learned vector per position.

        score(q, s) = w_s . q      W = [w_1, ... w_max_length]: (D_query, max_length)

    Of the keys only their number S counts. w_s belongs to step s of the tensor, so pad at the end.
    The first S columns of W are used; an S above `max_length` is an error; if S is dynamic, it is
    an error at run time about shapes that differ. All heads share W. Costs O(T S D) time and O(T S)
    memory.

    Args:
        max_length: Positive integer, the largest number of value steps.
        kernel_initializer: Initializer of W.

    Raises:
        ValueError: If `max_length` is not a positive integer, or S is above it.

    Example:
        >>> score = ka.LocationScore(max_length=8)
        >>> score(keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Luong, Pham & Manning, 2015, eq. 8 (location), https://arxiv.org/abs/1508.04025
        There the steps beyond W are ignored; here they are an error.
    """

    is_relative = False

    def __init__(
        self,
        max_length: int,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.max_length = checks.positive_integer("max_length", max_length)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, key_shape):
        self._check_length(key_shape[-2], query_shape, key_shape)
        self.query_dense = self._dense(self.max_length, "query")
        self.query_dense.build(query_shape)
        self.built = True

    def compare(self, query: Tensor, key: Tensor, start: int | Tensor) -> Tensor:
        """The scores `(..., T, S)`; of the key its number of steps S is read."""
        self._check_length(known_size(key, -2), query.shape, key.shape)
        scores = self.query_dense(query)  # (..., T, max_length)
        return positions.leading(scores, ops.shape(key)[-2], axis=-1)  # (..., T, S)

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _check_length(self, steps, query_shape, key_shape):
        if steps is not None and steps > self.max_length:
            raise ValueError(
                f"`{type(self).__name__}` has scores for max_length={self.max_length} steps. "
                f"Received: {steps} steps in key_shape={tuple(key_shape)}, "
                f"query_shape={tuple(query_shape)}"
            )
