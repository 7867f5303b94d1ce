"""Metrics over sequences of integer labels: padding never counts.

A mean over all tokens of all batches, however many each batch has. Keras' own metrics average
over the steps of each sequence first, so that tokens of short batches count more.
"""

import keras
from keras import ops

from keras_attention.losses import blank_uncounted, crossentropy, token_weights


class _TokenMean(keras.metrics.Metric):
    """The weighted mean of a number for each token, over all batches."""

    def __init__(self, ignore_class=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.ignore_class = ignore_class
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        weights = token_weights(y_true, y_pred, sample_weight, self.ignore_class)
        y_true, y_pred = blank_uncounted(y_true, y_pred, weights)
        values = self._values(y_true, ops.cast(y_pred, self.dtype))
        self.total.assign_add(ops.cast(ops.sum(weights * values), self.dtype))
        self.count.assign_add(ops.cast(ops.sum(weights), self.dtype))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        return {**super().get_config(), "ignore_class": self.ignore_class}


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenAccuracy(_TokenMean):
    """The share of tokens whose most likely class is the label.

    Args:
        ignore_class: Integer label that does not count, such as the id of padding, or `None`. A
            mask that the predictions carry counts as well.
        name: String.
        dtype: Dtype of the result; Keras' `floatx` (float32) if `None`.

    Example:
        >>> metric = ka.TokenAccuracy(ignore_class=0)
        >>> metric.update_state([[1, 1, 0]], [[[0.1, 0.9], [0.8, 0.2], [0.9, 0.1]]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, ignore_class=None, name="token_accuracy", dtype=None):
        super().__init__(ignore_class, name, dtype)

    def _values(self, y_true, y_pred):
        predicted = ops.argmax(y_pred, axis=-1)
        return ops.cast(ops.equal(predicted, ops.cast(y_true, predicted.dtype)), "float32")


@keras.saving.register_keras_serializable(package="keras_attention")
class Perplexity(_TokenMean):
    """The exponential of the mean cross-entropy: among how many words the model still wavers.

        perplexity = exp(-1/N sum_n log p(label_n))

    over the N tokens of all batches: not the mean of the batches' perplexities, which is larger.
    1 is perfect, V is a uniform guess among V words.

    Args:
        ignore_class: Integer label that does not count, such as the id of padding, or `None`. A
            mask that the predictions carry counts as well.
        from_logits: Whether the predictions are logits rather than probabilities.
        name: String.
        dtype: Dtype of the result; Keras' `floatx` (float32) if `None`.

    Example:
        >>> metric = ka.Perplexity(ignore_class=0, from_logits=True)
        >>> metric.update_state([[5, 7, 0]], keras.ops.zeros((1, 3, 8)))
        >>> print(f"{float(metric.result()):.4f}")
        8.0000
    """

    def __init__(self, ignore_class=None, from_logits=False, name="perplexity", dtype=None):
        super().__init__(ignore_class, name, dtype)
        self.from_logits = from_logits

    def _values(self, y_true, y_pred):
        return crossentropy(y_true, y_pred, from_logits=self.from_logits)

    def result(self):
        return ops.exp(super().result())

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}
