"""Projections of the steps of a tensor that also compile inside loops."""

import keras
from keras import ops

from keras_attention.functional.shapes import reshape


class Dense(keras.layers.Dense):
    """`keras.layers.Dense`, applied to all steps as the rows of one matrix.

    For a tensor of more than two axes with a dynamic length TensorFlow computes the axes of some
    transposes at run time, and XLA cannot differentiate those inside a loop. A matrix has none.
    """

    def call(self, inputs, training=None):
        if len(inputs.shape) == 2:
            return super().call(inputs, training=training)
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        outputs = super().call(rows, training=training)
        return reshape(outputs, (*ops.shape(inputs)[:-1], self.units))

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras' type check accepts its own class only: a subclass might compute something else.
        super().quantize(mode, type_check=False, config=config)


class EinsumDense(keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` from or to heads, with the bias added to the right axes.

    On TensorFlow Keras takes a bias `(H, 1)` for a channels-first one if there are H steps, and
    adds it to the steps instead of the heads. With one step per row this cannot happen. Also gives
    the right shape for an empty batch or no steps.
    """

    def call(self, inputs, training=None):
        return self._by_steps(super().call, inputs, training)

    def quantized_call(self, inputs, training=None):
        return self._by_steps(super().quantized_call, inputs, training)

    def _by_steps(self, call, inputs, training):
        batch, steps, *features = ops.shape(inputs)
        is_column = self.bias is not None and self.bias.shape[-1] == 1 < max(self.bias.shape)
        if not is_column and 0 not in (inputs.shape[0], inputs.shape[1]):
            return call(inputs, training=training)
        if is_column:
            inputs = ops.reshape(inputs, (-1, 1, *features))  # (B T, 1, ...)
        outputs = call(inputs, training=training)
        # Also for an empty batch without steps, which TensorFlow's `einsum` turns into one example.
        return reshape(outputs, (batch, steps, *outputs.shape[2:]))

    def quantize(self, mode=None, type_check=True, config=None):
        super().quantize(mode, type_check=False, config=config)  # as in `Dense`
