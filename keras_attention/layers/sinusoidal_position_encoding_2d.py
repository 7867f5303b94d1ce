"""Sinusoidal position encoding of the rows and columns of a grid."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.layer import BaseLayer
from keras_attention.types import LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class SinusoidalPositionEncoding2D(BaseLayer):
    """Two-dimensional sinusoidal position encoding: adds sines and cosines of row and column.

        output[y, x] = inputs[y, x] + concat(wave(y), wave(x))

    The first half of the features encodes the row, the second half the column, each like
    `SinusoidalPositionEncoding` of C / 2 features. If C is odd, the rows have one feature more than
    the columns. The layer has no weights and takes any height, width and number of features. For
    attention over the positions of an image, reshape the output to `(B, H W, C)`.

    Masking: the mask is passed on; masked positions count.

    Args:
        base: Positive number; the wavelengths go from 2 pi to 2 pi `base` rows or columns.

    Call arguments:
        inputs: Float tensor `(B, H, W, C)`.

    Returns:
        A tensor of the shape of the inputs.

    Raises:
        ValueError: If `base` is not above 0, or the inputs are not `(B, H, W, C)` with a known C.

    Example:
        >>> layer = ka.SinusoidalPositionEncoding2D()
        >>> print(keras.ops.convert_to_numpy(layer(keras.ops.zeros((1, 1, 1, 4)))))
        [[[[0. 1. 0. 1.]]]]

    Reference:
        Carion et al., 2020, section A.4, https://arxiv.org/abs/2005.12872
        As in the paper, but positions count from 0 and are not scaled to the size of the grid.
    """

    def __init__(self, base: float = 10000.0, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.base = checks.positive("base", base)

    def build(self, inputs_shape):
        checks.grid("inputs", inputs_shape)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Adds to each position the encoding of its row and column.

        Args:
            inputs: Float tensor `(B, H, W, C)`.

        Returns:
            Float tensor `(B, H, W, C)`.
        """
        inputs = self.floats(inputs)
        height, width = ops.shape(inputs)[1:3]
        of_column = inputs.shape[-1] // 2
        of_row = inputs.shape[-1] - of_column
        rows = positions.sinusoids(positions.steps(height), of_row, self.base)  # (H, C / 2)
        columns = positions.sinusoids(positions.steps(width), of_column, self.base)  # (W, C / 2)
        return inputs + ops.cast(positions.of_grid(rows, columns), inputs.dtype)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "base": self.base}
