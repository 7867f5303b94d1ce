"""Channel attention: weights of an image's channels."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, pool
from keras_attention.layers.base import TracedLayer
from keras_attention.types import LayerOptions, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ChannelAttention(TracedLayer):
    """Channel attention (CBAM): weighs the channels of a feature map by the whole image.

        weights = sigmoid(W_1 relu(W_0 mean(x)) + W_1 relu(W_0 max(x)));  output = weights x

    with mean and maximum over rows and columns, W_0: (C, C / r), W_1: (C / r, C). The weights are
    independent, each between 0 and 1: channels do not compete. Costs O(B H W C) time, O(B C)
    memory.

    Masking: for images padded to one size. Masked positions have no part in mean and maximum, may
    hold anything and become zeros; a fully masked image gets zero weights. So a padded image gives
    the same as the image alone. The mask is passed on.

    Args:
        reduction_ratio: Positive integer r; the hidden layer has C / r units, at least one.

    Call arguments:
        inputs: Float tensor `(B, H, W, C)`.
        mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
        return_attention_scores: Whether to return the weights too.

    Returns:
        The weighted feature map `(B, H, W, C)`; with `return_attention_scores` also the weights
        `(B, C)`.

    Raises:
        ValueError: If `reduction_ratio` is not a positive integer, if the inputs are not
            `(B, H, W, C)` with a known C, or if the mask has a float dtype or another shape.

    Example:
        >>> layer = ka.ChannelAttention(reduction_ratio=2)
        >>> output, weights = layer(keras.ops.ones((2, 6, 5, 4)), return_attention_scores=True)
        >>> tuple(output.shape), tuple(weights.shape)
        ((2, 6, 5, 4), (2, 4))

    Reference:
        Woo et al., 2018, eq. 2, https://arxiv.org/abs/1807.06521
        As in the paper; masks are ours.
    """

    def __init__(self, reduction_ratio: int = 16, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.reduction_ratio = checks.positive_integer("reduction_ratio", reduction_ratio)

    def build(self, inputs_shape):
        checks.grid("inputs", inputs_shape)
        channels = inputs_shape[-1]
        units = max(1, channels // self.reduction_ratio)
        # The gate is computed in float32 under mixed precision: it is small, and must not overflow.
        options = {"use_bias": False, "dtype": self.variable_dtype}
        self.hidden_dense = keras.layers.Dense(units, activation="relu", name="hidden", **options)
        self.output_dense = keras.layers.Dense(channels, name="output", **options)
        self.hidden_dense.build((None, channels))
        self.output_dense.build((None, units))
        self.built = True

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Outputs:
        """Multiplies each channel of a feature map by its weight.

        Args:
            inputs: Float tensor `(B, H, W, C)`.
            mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
            return_attention_scores: Whether to return the weights too.

        Returns:
            The weighted feature map `(B, H, W, C)`; with `return_attention_scores` a tuple of it
            and the weights `(B, C)`.
        """
        inputs = self.floats(inputs)
        mask = masks.of_steps("inputs", inputs, mask=mask)
        inputs = masks.blank(inputs, mask)
        mean, largest = pool.mean_and_max(inputs, mask)  # (B, C)
        # W_1 is linear: applied once, to the sum of both.
        hidden = self.hidden_dense(mean) + self.hidden_dense(largest)  # (B, C / r)
        weights = ops.sigmoid(self.output_dense(hidden))  # (B, C)
        if mask is not None:
            weights = masks.blank(weights, ops.any(ops.cast(mask, "bool"), axis=(1, 2)))
        weights = ops.cast(weights, inputs.dtype)
        output = inputs * ops.expand_dims(ops.expand_dims(weights, 1), 1)
        return (output, weights) if return_attention_scores else output

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "reduction_ratio": self.reduction_ratio}
