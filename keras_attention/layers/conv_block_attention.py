"""Convolutional block attention: channel attention, then spatial attention."""

from typing import Unpack

import keras

from keras_attention import checks
from keras_attention.layers.base import TracedLayer
from keras_attention.layers.channel_attention import ChannelAttention
from keras_attention.layers.spatial_attention import SpatialAttention
from keras_attention.types import LayerOptions, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ConvBlockAttention(TracedLayer):
    """Convolutional block attention (CBAM): channel attention, then spatial attention.

        x' = channel_weights x;  output = spatial_weights x'

    Goes between any two convolutions; in a residual network, before the addition. Its two layers
    are `ChannelAttention` and `SpatialAttention`. Costs O(B H W (C + k^2)) time.

    Masking: as in the two layers. The mask is passed on.

    Args:
        reduction_ratio: Positive integer, as in `ChannelAttention`.
        kernel_size: Positive integer, as in `SpatialAttention`.

    Call arguments:
        inputs: Float tensor `(B, H, W, C)`.
        mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
        return_attention_scores: Whether to return the weights too.

    Returns:
        The weighted feature map `(B, H, W, C)`; with `return_attention_scores` also a dict of the
        weights, `"channel"` `(B, C)` and `"spatial"` `(B, H, W)`, which multiply.

    Raises:
        ValueError: As in `ChannelAttention` and `SpatialAttention`.

    Example:
        >>> output, weights = ka.ConvBlockAttention(reduction_ratio=2)(
        ...     keras.ops.ones((2, 6, 5, 4)), return_attention_scores=True
        ... )
        >>> tuple(output.shape), {name: tuple(array.shape) for name, array in weights.items()}
        ((2, 6, 5, 4), {'channel': (2, 4), 'spatial': (2, 6, 5)})

    Reference:
        Woo et al., 2018, eq. 1, https://arxiv.org/abs/1807.06521
        As in the paper; masks are ours.
    """

    def __init__(
        self, reduction_ratio: int = 16, kernel_size: int = 7, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.reduction_ratio = checks.positive_integer("reduction_ratio", reduction_ratio)
        self.kernel_size = checks.positive_integer("kernel_size", kernel_size)

    def build(self, inputs_shape):
        self.channel = ChannelAttention(
            self.reduction_ratio, dtype=self.dtype_policy, name="channel"
        )
        self.spatial = SpatialAttention(self.kernel_size, dtype=self.dtype_policy, name="spatial")
        self.channel.build(inputs_shape)
        self.spatial.build(inputs_shape)
        self.built = True

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Outputs:
        """Multiplies the channels of a feature map, then its positions, by their weights.

        Args:
            inputs: Float tensor `(B, H, W, C)`.
            mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
            return_attention_scores: Whether to return the weights too.

        Returns:
            The weighted feature map `(B, H, W, C)`; with `return_attention_scores` a tuple of it
            and a dict of the weights, `"channel"` `(B, C)` and `"spatial"` `(B, H, W)`.
        """
        x, channel = self.channel(inputs, mask=mask, return_attention_scores=True)  # (B, C)
        output, spatial = self.spatial(x, mask=mask, return_attention_scores=True)  # (B, H, W)
        weights = {"channel": channel, "spatial": spatial}
        return (output, weights) if return_attention_scores else output

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "kernel_size": self.kernel_size,
        }
