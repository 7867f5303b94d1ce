"""Spatial attention: weights of an image's positions."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, pool
from keras_attention.layers.base import TracedLayer
from keras_attention.types import LayerOptions, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class SpatialAttention(TracedLayer):
    """Spatial attention (CBAM): weighs the positions of a feature map by their surroundings.

        weights = sigmoid(conv([mean(x); max(x)]));  output = weights x

    with mean and maximum over the channels, and one convolution with a k by k kernel. The weights
    are independent, each between 0 and 1: positions do not compete. Costs O(B H W (C + k^2)) time.

    Masking: for images padded to one size. Masked positions may hold anything, get zero weights and
    become zeros, so a padded image gives the same as the image alone. The mask is passed on.

    Where positions should compete for the attention of a query, as for each word of a caption, use
    `ContentAttention` over the grid as a sequence of H W steps: see the second example.

    Args:
        kernel_size: Positive integer k, the width and height of the convolution's kernel.

    Call arguments:
        inputs: Float tensor `(B, H, W, C)`.
        mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
        return_attention_scores: Whether to return the weights too.

    Returns:
        The weighted feature map `(B, H, W, C)`; with `return_attention_scores` also the weights
        `(B, H, W)`.

    Raises:
        ValueError: If `kernel_size` is not a positive integer, if the inputs are not
            `(B, H, W, C)` with a known C, or if the mask has a float dtype or another shape.

    Example:
        >>> grid = keras.ops.ones((2, 6, 5, 4))
        >>> output, weights = ka.SpatialAttention()(grid, return_attention_scores=True)
        >>> tuple(output.shape), tuple(weights.shape)
        ((2, 6, 5, 4), (2, 6, 5))

        Each of three words of a caption attends to the positions of the image:

        >>> words, positions = keras.ops.ones((2, 3, 8)), keras.layers.Reshape((-1, 4))(grid)
        >>> attention = ka.ContentAttention(score="additive")
        >>> context, weights = attention(words, positions, return_attention_scores=True)
        >>> tuple(keras.ops.reshape(weights, (2, 3, 6, 5)).shape)
        (2, 3, 6, 5)

    Reference:
        Woo et al., 2018, eq. 3, https://arxiv.org/abs/1807.06521
        Xu et al., 2015, section 4.2, https://arxiv.org/abs/1502.03044 (the second example)
        As in the papers; masks are ours.
    """

    def __init__(self, kernel_size: int = 7, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kernel_size = checks.positive_integer("kernel_size", kernel_size)

    def build(self, inputs_shape):
        checks.grid("inputs", inputs_shape)
        self.conv = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            data_format="channels_last",
            use_bias=False,
            # The gate is computed in float32 under mixed precision: it is small beside the input.
            dtype=self.variable_dtype,
            name="conv",
        )
        self.conv.build((*inputs_shape[:3], 2))
        self.built = True

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Outputs:
        """Multiplies each position of a feature map by its weight.

        Args:
            inputs: Float tensor `(B, H, W, C)`.
            mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
            return_attention_scores: Whether to return the weights too.

        Returns:
            The weighted feature map `(B, H, W, C)`; with `return_attention_scores` a tuple of it
            and the weights `(B, H, W)`.
        """
        inputs = self.floats(inputs)
        mask = masks.of_steps("inputs", inputs, mask=mask)
        inputs = masks.blank(inputs, mask)
        pooled = pool.mean_and_max_of_features(inputs)  # (B, H, W, 2)
        # Of an empty grid TensorFlow's convolution returns the input.
        is_empty = 0 in tuple(inputs.shape[:3])
        weights = pooled[..., :1] if is_empty else self.conv(pooled)
        weights = masks.blank(ops.sigmoid(weights), mask)  # (B, H, W, 1)
        weights = ops.cast(weights, inputs.dtype)
        output = inputs * weights
        return (output, ops.squeeze(weights, -1)) if return_attention_scores else output

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
