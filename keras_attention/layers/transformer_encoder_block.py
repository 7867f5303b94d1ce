"""Transformer encoder block."""

from typing import Unpack

import keras

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.transformer_block import TransformerBlock, attend
from keras_attention.types import Activation, LayerOptions, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerEncoderBlock(TransformerBlock):
    """Transformer encoder block: self-attention, then a feed-forward network.

        post-norm:  y = norm(x + attention(x, x));  output = norm(y + feedforward(y))
        pre-norm:   z = norm(x);  y = x + attention(z, z);  output = y + feedforward(norm(y))

    with `feedforward(y) = W_2 activation(W_1 y + b_1) + b_2`. Pre-norm trains deep stacks without
    a learning rate warm-up; put a `LayerNormalization` after the last block. Costs what its
    attention costs.

    The attention may be any attention layer, such as `ka.MultiHeadAttention(8, 64,
    num_key_value_heads=2, position=ka.RotaryPositionEmbedding())`. Each block needs a layer of its
    own; to share weights, call one block twice.

    Masking: see the layer contract (docs/contract.md). The outputs of masked steps are zeros; the
    mask is passed on.

    On TensorFlow a gradient of a gradient through Keras' `LayerNormalization` is wrong
    (`tf.nn.moments` stops a part of it): for a gradient penalty use the JAX backend.

    Args:
        intermediate_dim: Positive integer, the size of the feed-forward network's hidden layer.
        num_heads: Positive integer that divides D, to make a `MultiHeadAttention` with heads of
            D / num_heads features; `None` if an attention layer is given.
        attention: Layer called with `(query, value)` that returns as many features, or `None`.
        activation: Activation of the hidden layer.
        dropout: Float in `[0, 1)`, the dropout rate of each sub-layer's output, and of the
            attention weights if the block makes the attention layer.
        norm_first: Whether to use pre-norm rather than post-norm.
        epsilon: Positive number, added to the variance in the norms.
        seed: Integer seed of dropout, or `None`.

    Call arguments:
        inputs: Float tensor `(B, T, D)`.
        mask, inputs_mask, attention_mask: Boolean masks, as in the contract.
        segment_ids: Integers `(B, T)`, as in the contract.
        use_causal_mask, return_attention_scores, training: As in the contract.

    Returns:
        A tensor `(B, T, D)`; with `return_attention_scores` also the weights `(B, H, T, T)`, or
        what the given attention layer returns.

    Raises:
        ValueError: If a number is out of range or `activation` unknown; unless exactly one of
            `num_heads` and `attention` is given; if `num_heads` does not divide D; if `attention`
            is not a layer, belongs to another block, cannot be called as described or does not
            return D features; if the inputs are not `(B, T, D)`; if a mask has a float dtype or
            another shape.

    Example:
        >>> layer = ka.TransformerEncoderBlock(intermediate_dim=16, num_heads=2)
        >>> layer(keras.ops.ones((2, 3, 8))).shape == (2, 3, 8)
        True

    Reference:
        Vaswani et al., 2017, sections 3.1, 3.3 and 5.4, https://arxiv.org/abs/1706.03762
        As in the paper, with dropout of the weights too.
        Xiong et al., 2020, section 3.1 (pre-norm), https://arxiv.org/abs/2002.04745
    """

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int | None = None,
        attention: keras.layers.Layer | None = None,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm_first: bool = False,
        epsilon: float = 1e-5,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            intermediate_dim,
            num_heads,
            attention,
            activation,
            dropout,
            norm_first,
            epsilon,
            seed,
            **kwargs,
        )
        if (num_heads is None) == (attention is None):
            raise ValueError(
                "Give either `num_heads` or `attention`. Received: "
                f"num_heads={num_heads}, attention={attention}"
            )

    def build(self, inputs_shape):
        checks.sequence("inputs", inputs_shape)
        self.self_attention, self.attention_norm = self._build_attention(
            "attention", self.attention, inputs_shape, inputs_shape
        )
        self._build_feedforward(inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Computes the block for a whole sequence.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            inputs: Float tensor `(B, T, D)`.

        Returns:
            The output `(B, T, D)`; with `return_attention_scores` a tuple of it and the weights
            `(B, H, T, T)`.
        """
        inputs = self.floats(inputs)
        mask = masks.of_steps("inputs", inputs, mask=mask, inputs_mask=inputs_mask)  # (B, T)

        def attention(x):
            return attend(
                self.self_attention,
                x,
                x,
                return_attention_scores,
                query_mask=mask,
                value_mask=mask,
                attention_mask=attention_mask,
                segment_ids=segment_ids,
                use_causal_mask=use_causal_mask,
                training=training,
            )

        x = masks.blank(inputs, mask)  # (B, T, D)
        x, weights = self._sublayer(x, self.attention_norm, attention, training)
        x = masks.blank(self._feedforward(x, training), mask)
        return (x, weights) if return_attention_scores else x
