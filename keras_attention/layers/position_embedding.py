"""Learned position embedding."""

import numbers
from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.functional.shapes import known_size
from keras_attention.layer import BaseLayer
from keras_attention.types import Initializer, LayerOptions, Regularizer, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class PositionEmbedding(BaseLayer):
    """Learned position embedding: adds one learned vector per position.

        output[t] = x[t] + P[t]      P: (max_length, D)

    A position of `max_length` or more is an error where it is known before run time. Where it is
    dynamic, TensorFlow raises an error outside XLA; under XLA and on JAX the vectors of such steps
    are arbitrary.

    Masking: the mask is passed on; masked steps count as positions.

    Args:
        max_length: Positive integer, the number of positions.
        embeddings_initializer: Initializer of P.
        embeddings_regularizer: Regularizer of P, or `None`.

    Call arguments:
        inputs: Float tensor `(B, T, D)`.
        start_index: Position of the first step, as in `SinusoidalPositionEncoding`; positions
            below 0, of steps padded at the left, count as 0.

    Returns:
        A tensor of the shape of the inputs.

    Raises:
        ValueError: If `max_length` is not a positive integer, if an initializer or regularizer is
            unknown, if the inputs are not `(B, T, D)` with a known D, or if a position of
            `max_length` or more is known.

    Example:
        >>> layer = ka.PositionEmbedding(max_length=5)
        >>> layer(keras.ops.ones((2, 3, 4)), start_index=2).shape == (2, 3, 4)
        True

    Reference:
        Gehring et al., 2017, section 3.1, https://arxiv.org/abs/1705.03122
        As in the paper.
    """

    def __init__(
        self,
        max_length: int,
        embeddings_initializer: Initializer = "uniform",
        embeddings_regularizer: Regularizer = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_length = checks.positive_integer("max_length", max_length)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)

    def build(self, inputs_shape):
        checks.sequence("inputs", inputs_shape)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.max_length, inputs_shape[-1]),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
        )
        self.built = True

    def call(self, inputs: Tensor, start_index: int | Tensor = 0) -> Tensor:
        """Adds the vector of its position to each step.

        Args:
            inputs: Float tensor `(B, T, D)`.
            start_index: Integer, scalar tensor or tensor `(B,)`, the position of the first step.

        Returns:
            Float tensor `(B, T, D)`.

        Raises:
            ValueError: If a position of `max_length` or more is known.
        """
        inputs = self.floats(inputs)
        end = known_size(inputs, 1)
        if isinstance(start_index, numbers.Integral) and end is not None:
            end += start_index
        if end is not None and end > self.max_length:
            raise ValueError(
                "`inputs` must have no step past `max_length`. Received: "
                f"inputs.shape={tuple(inputs.shape)}, start_index={start_index}, "
                f"max_length={self.max_length}"
            )
        steps = positions.steps(ops.shape(inputs)[1], start_index)  # (T,) or (B, T)
        vectors = ops.take(self.embeddings, ops.maximum(steps, 0), axis=0)
        return inputs + ops.cast(vectors, inputs.dtype)  # (B, T, D)

    def compute_output_shape(self, inputs_shape, **kwargs):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
        }
