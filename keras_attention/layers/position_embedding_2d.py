"""Learned position embedding of the rows and columns of a grid."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.functional.shapes import known_size
from keras_attention.layer import BaseLayer
from keras_attention.types import Initializer, LayerOptions, Regularizer, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class PositionEmbedding2D(BaseLayer):
    """Two-dimensional learned position embedding: adds learned vectors of each row and column.

        output[y, x] = inputs[y, x] + concat(R[y], L[x])

    with R: (max_height, C / 2) and L: (max_width, C / 2). A grid then needs H + W vectors instead
    of H W. More than `max_height` rows or `max_width` columns are an error if known before run
    time. If they are dynamic, TensorFlow raises an error outside XLA; under XLA and on JAX the
    vectors of the rows and columns beyond are arbitrary. If C is odd, the row vectors have one
    feature more than the column vectors.

    Masking: the mask is passed on; masked positions count.

    Args:
        max_height, max_width: Positive integers, the numbers of rows and columns.
        embeddings_initializer: Initializer of R and L.
        embeddings_regularizer: Regularizer of R and L, or `None`.

    Call arguments:
        inputs: Float tensor `(B, H, W, C)`.

    Returns:
        A tensor of the shape of the inputs.

    Raises:
        ValueError: If `max_height` or `max_width` is not a positive integer, if an initializer or
            regularizer is unknown, if the inputs are not `(B, H, W, C)` with a known C of 2 or
            more, or if they are known to have more rows than `max_height` or columns than
            `max_width`.

    Example:
        >>> layer = ka.PositionEmbedding2D(max_height=8, max_width=8)
        >>> layer(keras.ops.ones((2, 8, 6, 4))).shape == (2, 8, 6, 4)
        True

    Reference:
        Dosovitskiy et al., 2021, section D.4, https://arxiv.org/abs/2010.11929
        As in the paper.
    """

    def __init__(
        self,
        max_height: int,
        max_width: int,
        embeddings_initializer: Initializer = "uniform",
        embeddings_regularizer: Regularizer = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_height = checks.positive_integer("max_height", max_height)
        self.max_width = checks.positive_integer("max_width", max_width)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)

    def build(self, inputs_shape):
        checks.grid("inputs", inputs_shape)
        if inputs_shape[-1] < 2:
            raise ValueError(
                "`inputs` must have 2 channels or more, for rows and for columns. Received: "
                f"inputs_shape={tuple(inputs_shape)}"
            )
        of_column = inputs_shape[-1] // 2
        self.row_embeddings, self.column_embeddings = (
            self.add_weight(
                name=name,
                shape=(count, size),
                initializer=self.embeddings_initializer.clone(),
                regularizer=self.embeddings_regularizer,
            )
            for name, count, size in (
                ("row_embeddings", self.max_height, inputs_shape[-1] - of_column),
                ("column_embeddings", self.max_width, of_column),
            )
        )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Adds to each position the vectors of its row and column.

        Args:
            inputs: Float tensor `(B, H, W, C)`.

        Returns:
            Float tensor `(B, H, W, C)`.

        Raises:
            ValueError: If there are known to be more rows or columns than the layer was made for.
        """
        inputs = self.floats(inputs)
        for axis, most in ((1, self.max_height), (2, self.max_width)):
            size = known_size(inputs, axis)
            if size is not None and size > most:
                raise ValueError(
                    "`inputs` must have no more than `max_height` rows and `max_width` columns. "
                    f"Received: inputs.shape={tuple(inputs.shape)}, max_height={self.max_height}, "
                    f"max_width={self.max_width}"
                )
        height, width = ops.shape(inputs)[1:3]
        rows = ops.take(self.row_embeddings, positions.steps(height), axis=0)  # (H, C / 2)
        columns = ops.take(self.column_embeddings, positions.steps(width), axis=0)  # (W, C / 2)
        return inputs + ops.cast(positions.of_grid(rows, columns), inputs.dtype)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "max_height": self.max_height,
            "max_width": self.max_width,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
        }
