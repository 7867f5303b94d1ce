"""Attention gate: weights of a skip connection's positions by a coarser grid."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, resample
from keras_attention.layers.base import TracedLayer
from keras_attention.types import Activation, LayerOptions, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionGate(TracedLayer):
    """Attention gate (Attention U-Net): a coarse grid weighs the positions of a fine one.

        weights = sigmoid(psi^T activation(W_x x' + W_g g + b_g) + b_psi);  output = weights x

    with g the gating signal on a coarse grid, x' the inputs x resampled to that grid, and the
    weights resampled to the grid of x before they multiply it; both resamplings are bilinear.
    W_x: (C, U), W_g: (C_g, U), psi: (U, 1). Each weight lies between 0 and 1 and does not depend on
    the others: there is no softmax over positions. In a U-Net x is a skip connection and g the
    decoder's features of the next coarser level. Costs O(B h w (C + C_g) U + B H W C) time.

    Masking: for images padded to one size. Masked positions may hold any values; the resampling
    leaves them out. So if H and W are multiples of h and w, a padded image gives the same output as
    the image alone. Masked inputs get zero weights and become zeros, and so do inputs whose nearest
    four gating positions are all masked or compared with masked inputs alone. The mask of the
    inputs is passed on.

    Args:
        units: Positive integer U, size of the hidden layer.
        activation: Activation of the hidden layer.

    Call arguments:
        inputs: Float tensor x, `(B, H, W, C)`.
        gating: Float tensor g, `(B, h, w, C_g)`; h and w may be any size.
        inputs_mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
        gating_mask: Boolean `(B, h, w)`, or `None`.
        return_attention_scores: Whether to return the weights too.

    Returns:
        The weighted inputs `(B, H, W, C)`; with `return_attention_scores` also the weights
        `(B, H, W)`.

    Raises:
        ValueError: If `units` is not a positive integer, `activation` is unknown, a tensor is not
            `(B, height, width, channels)` with known channels, or a mask has a float dtype or
            another shape than its tensor.

    Example:
        >>> skip, below = keras.ops.ones((2, 8, 6, 4)), keras.ops.ones((2, 4, 3, 5))
        >>> output, weights = ka.AttentionGate(units=2)(skip, below, return_attention_scores=True)
        >>> tuple(output.shape), tuple(weights.shape)
        ((2, 8, 6, 4), (2, 8, 6))

    Reference:
        Oktay et al., 2018, eq. 1 and 2, https://arxiv.org/abs/1804.03999
        As in the paper, but in two dimensions, with one weight per position for all channels; the
        masks are ours.
    """

    def __init__(
        self, units: int, activation: Activation = "relu", **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = checks.positive_integer("units", units)
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, gating_shape):
        checks.grid("inputs", inputs_shape)
        checks.grid("gating", gating_shape)
        self.inputs_dense = keras.layers.Dense(
            self.units, use_bias=False, dtype=self.dtype_policy, name="inputs"
        )
        self.gating_dense = keras.layers.Dense(self.units, dtype=self.dtype_policy, name="gating")
        # The gate is computed in float32 under mixed precision: it is small beside the input.
        self.score_dense = keras.layers.Dense(1, dtype=self.variable_dtype, name="score")
        self.inputs_dense.build((None, inputs_shape[-1]))
        self.gating_dense.build((None, gating_shape[-1]))
        self.score_dense.build((None, self.units))
        self.built = True

    def call(
        self,
        inputs: Tensor,
        gating: Tensor,
        inputs_mask: Tensor | None = None,
        gating_mask: Tensor | None = None,
        return_attention_scores: bool = False,
    ) -> Outputs:
        """Multiplies each position of a grid by a weight computed with a coarser grid.

        Args:
            inputs: Float tensor `(B, H, W, C)`.
            gating: Float tensor `(B, h, w, C_g)`.
            inputs_mask: Boolean `(B, H, W)`, `True` for the positions of the image, or `None`.
            gating_mask: Boolean `(B, h, w)`, or `None`.
            return_attention_scores: Whether to return the weights too.

        Returns:
            The weighted inputs `(B, H, W, C)`; with `return_attention_scores` a tuple of them and
            the weights `(B, H, W)`.
        """
        inputs, gating = self.floats(inputs, gating)
        inputs_mask = masks.of_steps("inputs", inputs, inputs_mask=inputs_mask)
        gating_mask = masks.of_steps("gating", gating, gating_mask=gating_mask)
        inputs, gating = masks.blank(inputs, inputs_mask), masks.blank(gating, gating_mask)
        if 0 in (*inputs.shape[:3], *gating.shape[:3]):
            weights = ops.zeros_like(inputs[..., :1])  # nothing opens the gate
        else:
            weights = self._weights(inputs, gating, inputs_mask, gating_mask)  # (B, H, W, 1)
        weights = ops.cast(masks.blank(weights, inputs_mask), inputs.dtype)
        output = inputs * weights
        return (output, ops.squeeze(weights, -1)) if return_attention_scores else output

    def _weights(self, inputs, gating, inputs_mask, gating_mask):
        coarse, is_seen = resample.bilinear(inputs, ops.shape(gating)[1:3], inputs_mask)
        hidden = self.inputs_dense(ops.cast(coarse, inputs.dtype)) + self.gating_dense(gating)
        hidden = self.activation(ops.cast(hidden, self.variable_dtype))  # (B, h, w, U)
        weights = ops.sigmoid(self.score_dense(hidden))
        mask = masks.combine(is_seen, gating_mask)
        return resample.bilinear(weights, ops.shape(inputs)[1:3], mask)[0]

    def compute_output_shape(self, inputs_shape, gating_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
        }
