"""The visual sentinel: what a decoder knows without the image."""

from typing import Unpack

import keras
from keras import ops

from keras_attention.layers.base import TracedLayer
from keras_attention.types import LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class SentinelGate(TracedLayer):
    """Visual sentinel: the gated memory of a recurrent cell, for `AdaptiveAttention`.

        g_t = sigmoid(W_x x_t + W_h h_{t-1});  s_t = g_t * tanh(m_t)

    W_x: (D, U), W_h: (D_hidden, U). `AdaptiveAttention` may attend to s_t instead of the image;
    inside an `AttentionDecoder` it makes this gate itself.

    Call arguments:
        inputs: Float tensor `(..., D)`, the cell's input x_t.
        hidden: Float tensor `(..., D_hidden)`, the cell's hidden state h_{t-1} before the step.
        memory: Float tensor `(..., U)`, its memory m_t after the step: an LSTM's second state.

    Returns:
        The sentinel `(..., U)`.

    Example:
        >>> ones = keras.ops.ones
        >>> sentinel = ka.SentinelGate()(ones((2, 3)), hidden=ones((2, 4)), memory=ones((2, 4)))
        >>> tuple(sentinel.shape)
        (2, 4)

    Reference:
        Lu et al., 2017, eq. 9 and 10, https://arxiv.org/abs/1612.01887
        As in the paper.
    """

    def __init__(self, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, inputs_shape, hidden_shape, memory_shape):
        self.inputs_dense = self._dense(memory_shape[-1], "inputs")
        self.hidden_dense = self._dense(memory_shape[-1], "hidden")
        self.inputs_dense.build(inputs_shape)
        self.hidden_dense.build(hidden_shape)
        self.built = True

    def call(self, inputs: Tensor, hidden: Tensor, memory: Tensor) -> Tensor:
        """Computes the sentinel of one step or of many.

        Args:
            inputs: Float tensor `(..., D)`, the cell's input.
            hidden: Float tensor `(..., D_hidden)`, its hidden state before the step.
            memory: Float tensor `(..., U)`, its memory after the step.

        Returns:
            The sentinel `(..., U)`.
        """
        inputs, hidden, memory = self.floats(inputs, hidden, memory)
        gate = ops.sigmoid(self.inputs_dense(inputs) + self.hidden_dense(hidden))  # (..., U)
        return gate * ops.tanh(memory)

    def _dense(self, units, name):
        return keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name=name)
