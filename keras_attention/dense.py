"""The projection of a tensor's steps, fit for compiled loops."""

import keras
from keras import ops

from keras_attention.functional.shapes import reshape


class Dense(keras.layers.Dense):
    """`keras.layers.Dense`, applied to all steps as to the rows of one matrix.

    For a tensor of more than two axes with an unknown length TensorFlow computes the order of some
    transpositions at run time, and XLA can't differentiate those inside a loop. A matrix has none.
    """

    def call(self, inputs, training=None):
        if len(inputs.shape) == 2:
            return super().call(inputs, training=training)
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        outputs = super().call(rows, training=training)
        return reshape(outputs, (*ops.shape(inputs)[:-1], self.units))

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras checks for its own class alone, as a subclass might compute something else.
        super().quantize(mode, type_check=False, config=config)
