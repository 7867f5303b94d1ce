"""Rotary position embedding."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.layer import BaseLayer
from keras_attention.types import LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class RotaryPositionEmbedding(BaseLayer):
    """Rotary position embedding (RoPE): rotates pairs of features by their position.

        (x[t, 2i], x[t, 2i + 1]) is rotated by the angle t / base^(2i / D)

    The dot product of a rotated query and a rotated key depends on their distance, not on their
    positions. No weights. Inside attention pass it as `MultiHeadAttention(position=...)`, which
    rotates queries and keys, and not values; alone it rotates any features.

    Masking: the mask is passed on; masked steps count as positions.

    Args:
        base: Positive number; the wavelengths go from 2 pi to 2 pi `base` steps.

    Call arguments:
        inputs: Float tensor `(B, T, D)` or, with heads, `(B, H, T, D)`, with an even D.
        start_index: Position of the first step, as in `SinusoidalPositionEncoding`.

    Returns:
        A tensor of the shape of the inputs.

    Raises:
        ValueError: If `base` is not above 0, or if the inputs do not have three or four axes and a
            known, even number of features.

    Example:
        >>> layer = ka.RotaryPositionEmbedding()
        >>> layer(keras.ops.ones((2, 3, 4)), start_index=2).shape == (2, 3, 4)
        True

    Reference:
        Su et al., 2021, eq. 34, https://arxiv.org/abs/2104.09864
        As in the paper: features 2i and 2i + 1 are a pair. Some weights of other projects pair
        feature i with i + D / 2; reorder the columns of their query and key kernels.
    """

    def __init__(self, base: float = 10000.0, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.base = checks.positive("base", base)

    def build(self, inputs_shape):
        size = inputs_shape[-1]
        if len(inputs_shape) not in (3, 4) or size is None or size % 2:
            raise ValueError(
                "`inputs` must have the shape (batch, steps, features) or (batch, heads, steps, "
                "features) with a known, even number of features. "
                f"Received: inputs_shape={tuple(inputs_shape)}"
            )
        self.built = True

    def call(self, inputs: Tensor, start_index: int | Tensor = 0) -> Tensor:
        """Rotates each step by the angles of its position.

        Args:
            inputs: Float tensor `(B, T, D)`, or with heads `(B, H, T, D)`.
            start_index: Integer, scalar tensor or tensor `(B,)`, the position of the first step.

        Returns:
            Float tensor of the shape of the inputs.
        """
        inputs = self.floats(inputs)
        steps = positions.steps(ops.shape(inputs)[-2], start_index)  # (T,) or (B, T)
        if len(steps.shape) == 2 and len(inputs.shape) == 4:
            steps = ops.expand_dims(steps, 1)  # (B, 1, T)
        return positions.rotate(inputs, steps, self.base)

    def compute_output_shape(self, inputs_shape, **kwargs):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "base": self.base}
