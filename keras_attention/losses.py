"""Losses over sequences of integer labels: padding never counts."""

import keras
from keras import ops

from keras_attention import checks


@keras.saving.register_keras_serializable(package="keras_attention")
class SequenceCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels, smoothed if wanted, as a mean over the tokens that count.

        loss(token) = -sum_k q(k) log p(k);  q(k) = (1 - eps) [k = label] + eps / V

    `keras.losses.SparseCategoricalCrossentropy` with label smoothing, which Keras has for one-hot
    labels only: those of a vocabulary would take V times the memory. Computed in float32, also from
    float16 logits.

    Masking: a token counts unless its label is `ignore_class`, the mask that the predictions carry
    hides it, or its sample weight is 0; what is predicted there may be anything. The loss is
    `sum(weight loss) / sum(weight)`, and 0 where no token counts. Keras' own mean with sample
    weights divides by the number of all tokens instead.

    Args:
        label_smoothing: Float eps in `[0, 1)`: this share of each label goes to all V alike.
        ignore_class: Integer label that does not count, such as the id of padding, or `None`.
        from_logits: Whether the predictions are logits rather than probabilities.
        name: String.
        dtype: Dtype of the arithmetic; Keras' `floatx` (float32) if `None`.

    Call arguments:
        y_true: Integer tensor `(B,)`, `(B, T)` or any other shape.
        y_pred: Float tensor of one more axis, of V classes.
        sample_weight: Numbers of the shape of `y_true`, or of its first axes.

    Returns:
        The mean, a scalar.

    Example:
        >>> loss = ka.SequenceCrossentropy(ignore_class=0, from_logits=True)
        >>> logits = keras.ops.zeros((1, 3, 8))
        >>> print(f"{float(loss([[5, 7, 0]], logits)):.4f}")  # log 8, twice
        2.0794

    Reference:
        Szegedy et al., 2016, section 7, https://arxiv.org/abs/1512.00567
        As in the paper, with the uniform distribution for u(k).
    """

    def __init__(
        self,
        label_smoothing=0.0,
        ignore_class=None,
        from_logits=False,
        name="sequence_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype=dtype)
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)
        self.ignore_class = ignore_class
        self.from_logits = from_logits

    def __call__(self, y_true, y_pred, sample_weight=None):
        weights = token_weights(y_true, y_pred, sample_weight, self.ignore_class)
        y_true, y_pred = blank_uncounted(y_true, y_pred, weights)
        return super().__call__(y_true, y_pred, sample_weight=weights)

    def call(self, y_true, y_pred):
        return crossentropy(y_true, y_pred, self.label_smoothing, self.from_logits)

    def get_config(self):
        config = super().get_config()
        config.pop("reduction")
        return {
            **config,
            "label_smoothing": self.label_smoothing,
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
        }


def crossentropy(labels, predictions, label_smoothing=0.0, from_logits=False):
    """Cross-entropy of each token.

    Args:
        labels: Tensor `(...)` of integers from 0 to V - 1.
        predictions: Float tensor `(..., V)`.
        label_smoothing: Float in `[0, 1)`.
        from_logits: Whether the predictions are logits rather than probabilities.

    Returns:
        Float tensor `(...)`, never negative.
    """
    if from_logits:
        # Shifted first: a difference of large numbers would lose its digits.
        top = ops.stop_gradient(ops.max(predictions, axis=-1, keepdims=True))
        shifted = predictions - top
        log_p = shifted - ops.logsumexp(shifted, axis=-1, keepdims=True)  # (..., V)
    else:
        log_p = ops.log(ops.maximum(predictions, keras.config.epsilon()))
    index = ops.expand_dims(ops.cast(labels, "int32"), -1)
    of_label = ops.squeeze(ops.take_along_axis(log_p, index, axis=-1), -1)  # (...)
    if not label_smoothing:
        return -of_label
    return -(1.0 - label_smoothing) * of_label - label_smoothing * ops.mean(log_p, axis=-1)


def token_weights(y_true, y_pred, sample_weight=None, ignore_class=None):
    """How much each token counts: a tensor of the shape of the labels.

    Args:
        y_true: Integer tensor `(...)`, or `(..., 1)`.
        y_pred: Float tensor `(..., V)`; the Keras mask that it may carry counts.
        sample_weight: Numbers of the shape of `y_true`, or of its first axes.
        ignore_class: Integer label with a weight of 0, or `None`.
    """
    if not hasattr(y_pred, "shape"):  # what has one may carry a mask, and stays as it is
        y_pred = ops.convert_to_tensor(y_pred)
    y_true = _squeeze_label(ops.convert_to_tensor(y_true), y_pred)
    sizes = zip(y_true.shape, y_pred.shape[:-1], strict=False)
    if len(y_true.shape) != len(y_pred.shape) - 1 or any(
        isinstance(size, int) and isinstance(other, int) and size != other for size, other in sizes
    ):
        raise ValueError(
            "The predictions must have the labels' shape and one axis more, for the classes. "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight, "float32")
        while len(sample_weight.shape) < len(y_true.shape):
            sample_weight = ops.expand_dims(sample_weight, -1)
    weights = _Ones()(y_true, y_pred, sample_weight=sample_weight)
    if ignore_class is None:
        return weights
    return ops.where(ops.equal(y_true, ops.cast(ignore_class, y_true.dtype)), 0.0, weights)


def blank_uncounted(y_true, y_pred, weights):
    """Labels `(...)` and predictions `(..., V)` with harmless numbers where the weight is 0."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = _squeeze_label(ops.convert_to_tensor(y_true), y_pred)
    counted = ops.not_equal(weights, 0.0)
    y_true = ops.where(counted, y_true, ops.zeros_like(y_true))
    # Ones are fine logits and, as far as logarithms go, fine probabilities.
    return y_true, ops.where(ops.expand_dims(counted, -1), y_pred, ops.ones_like(y_pred))


def _squeeze_label(y_true, y_pred):
    """Keras passes labels `(B,)` as `(B, 1)`."""
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        return ops.squeeze(y_true, -1)
    return y_true


class _Ones(keras.losses.Loss):
    """A loss of 1 for each token: weighted by Keras, it is the weight of each token.

    Keras reads the mask that predictions carry in its base class of losses, and nowhere else in
    public.
    """

    def __init__(self):
        super().__init__(name="token_weights", reduction=None, dtype="float32")

    def call(self, y_true, y_pred):
        return ops.ones(ops.shape(y_true), "float32")
