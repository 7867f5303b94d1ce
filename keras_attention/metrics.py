"""Metrics over sequences of integer labels, without padding.

A mean over all tokens of all batches. Keras' own metrics average over the steps of each sequence
first, so that tokens of short batches count more.
"""

from typing import Any

import keras
from keras import ops

from keras_attention.losses import (
    at_least_float32,
    class_id,
    counted_tokens,
    crossentropy,
    in_range,
)
from keras_attention.types import Tensor


class _TokenMean(keras.metrics.Metric):
    """The weighted mean of a number for each token, over all batches."""

    def __init__(
        self, ignore_class: int | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=at_least_float32(dtype))
        self.ignore_class = class_id("ignore_class", ignore_class)
        self.total = self.add_variable((), "zeros", dtype=self.dtype, name="total")
        self.count = self.add_variable((), "zeros", dtype=self.dtype, name="count")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds the tokens of one batch.

        Args:
            y_true: Integer tensor `(...)`, labels from 0 to V - 1 or `ignore_class`.
            y_pred: Float tensor `(..., V)`.
            sample_weight: Numbers of the shape of `y_true` or of its first axes, or `None`.

        Raises:
            ValueError: If the shapes do not fit; in eager mode also if a label that counts is
                outside `[0, V)`.
        """
        labels, predictions, weights = counted_tokens(
            y_true, y_pred, sample_weight, self.ignore_class, self.dtype
        )
        self.total.assign_add(ops.sum(weights * self._values(labels, predictions)))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Tensor:
        """The mean over all tokens since the last reset, a scalar; 0 without any token."""
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        return {**super().get_config(), "ignore_class": self.ignore_class}


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenAccuracy(_TokenMean):
    """Token accuracy: the fraction of unmasked tokens whose most likely class is the label.

    Wrong labels: a token that counts must have a label from 0 to V - 1. If one has not,
    `update_state` raises a `ValueError` in eager mode. Compiled code (`fit`, `tf.function`,
    `jax.jit`) cannot raise: there the result is NaN until `reset_state`.

    Args:
        ignore_class: Integer label that does not count, such as the id of padding or -100, or
            `None`. It need not lie in `[0, V)`, nor fit the dtype of the labels. The Keras mask of
            the predictions is applied too; on JAX Keras' `fit` passes no mask to training metrics,
            only to validation and `evaluate`.
        name: String.
        dtype: Dtype of the sums and of the result; Keras' `floatx` (float32) if `None`. float16
            and bfloat16 count as float32.

    Raises:
        ValueError: If `ignore_class` is not a 32-bit integer or the shapes do not fit; in eager
            mode also if a label that counts is outside `[0, V)`.

    Example:
        >>> metric = ka.TokenAccuracy(ignore_class=0)
        >>> metric.update_state([[1, 1, 0]], [[[0.1, 0.9], [0.8, 0.2], [0.9, 0.1]]])
        >>> float(metric.result())
        0.5
    """

    def __init__(
        self, ignore_class: int | None = None, name: str = "token_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(ignore_class, name, dtype)

    def _values(self, y_true, y_pred):
        predicted = ops.cast(ops.argmax(y_pred, axis=-1), y_true.dtype)  # (...)
        hits = ops.cast(ops.equal(predicted, y_true), self.dtype)
        # No product with NaN: XLA simplifies hit * NaN to "NaN if hit, else 0".
        return ops.where(in_range(y_true, y_pred), hits, float("nan"))


@keras.saving.register_keras_serializable(package="keras_attention")
class Perplexity(_TokenMean):
    """Perplexity, the exponential of the mean cross-entropy over all unmasked tokens.

        perplexity = exp(-1/N sum_n log p(label_n))

    over the N tokens of all batches: not the mean of the batches' perplexities, which is larger. It
    is the effective number of equally likely tokens: 1 is perfect, V a uniform guess among V.

    Wrong labels: a token that counts must have a label from 0 to V - 1. If one has not,
    `update_state` raises a `ValueError` in eager mode. Compiled code (`fit`, `tf.function`,
    `jax.jit`) cannot raise: there the result is NaN until `reset_state`.

    Args:
        ignore_class: Integer label that does not count, such as the id of padding or -100, or
            `None`. It need not lie in `[0, V)`, nor fit the dtype of the labels. The Keras mask of
            the predictions is applied too; on JAX Keras' `fit` passes no mask to training metrics,
            only to validation and `evaluate`.
        from_logits: Whether the predictions are logits rather than probabilities.
        name: String.
        dtype: Dtype of the sums and of the result; Keras' `floatx` (float32) if `None`. float16
            and bfloat16 count as float32.

    Raises:
        ValueError: If `ignore_class` is not a 32-bit integer or the shapes do not fit; in eager
            mode also if a label that counts is outside `[0, V)`.

    Example:
        >>> metric = ka.Perplexity(ignore_class=0, from_logits=True)
        >>> metric.update_state([[5, 7, 0]], keras.ops.zeros((1, 3, 8)))
        >>> print(f"{float(metric.result()):.4f}")
        8.0000
    """

    def __init__(
        self,
        ignore_class: int | None = None,
        from_logits: bool = False,
        name: str = "perplexity",
        dtype: Any = None,
    ) -> None:
        super().__init__(ignore_class, name, dtype)
        self.from_logits = from_logits

    def _values(self, y_true, y_pred):
        return crossentropy(y_true, y_pred, from_logits=self.from_logits)

    def result(self) -> Tensor:
        """The perplexity over all tokens since the last reset, a scalar; 1 without any token."""
        return ops.exp(super().result())

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}
