"""Sinusoidal position encoding."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.layer import BaseLayer
from keras_attention.types import LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class SinusoidalPositionEncoding(BaseLayer):
    """Sinusoidal position encoding: adds sines and cosines of the position to each step.

        output[t, 2i] = x[t, 2i] + sin(t / base^(2i / D))
        output[t, 2i + 1] = x[t, 2i + 1] + cos(t / base^(2i / D))

    No weights, any length and any size. A model trained on short sequences often fails on longer
    ones; prefer `ALiBiScore` or `RotaryPositionEmbedding` in `MultiHeadAttention` for those.
    If the initial embeddings are small, scale them up by sqrt(D) first, as the paper does.

    Masking: the mask is passed on; masked steps count as positions.

    Args:
        base: Positive number; the wavelengths go from 2 pi to 2 pi `base` steps.

    Call arguments:
        inputs: Float tensor `(B, T, D)`.
        start_index: Position of the first step, for decoding step by step: an integer, a scalar
            tensor, or a tensor `(B,)` with one per row, such as minus the number of padded steps
            where rows are padded at the left.

    Returns:
        A tensor of the shape of the inputs.

    Raises:
        ValueError: If `base` is not above 0, or the inputs are not `(B, T, D)` with a known D.

    Example:
        >>> layer = ka.SinusoidalPositionEncoding()
        >>> print(keras.ops.convert_to_numpy(layer(keras.ops.zeros((1, 1, 3)))))
        [[[0. 1. 0.]]]

    Reference:
        Vaswani et al., 2017, section 3.5, https://arxiv.org/abs/1706.03762
        As in the paper; an odd size ends with a sine.
    """

    def __init__(self, base: float = 10000.0, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.base = checks.positive("base", base)

    def build(self, inputs_shape):
        checks.sequence("inputs", inputs_shape)
        self.built = True

    def call(self, inputs: Tensor, start_index: int | Tensor = 0) -> Tensor:
        """Adds the encoding of its position to each step.

        Args:
            inputs: Float tensor `(B, T, D)`.
            start_index: Integer, scalar tensor or tensor `(B,)`, the position of the first step.

        Returns:
            Float tensor `(B, T, D)`.
        """
        inputs = self.floats(inputs)
        steps = positions.steps(ops.shape(inputs)[1], start_index)  # (T,) or (B, T)
        waves = positions.sinusoids(steps, inputs.shape[-1], self.base)
        return inputs + ops.cast(waves, inputs.dtype)  # (B, T, D)

    def compute_output_shape(self, inputs_shape, **kwargs):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "base": self.base}
