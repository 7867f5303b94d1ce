"""Losses over sequences of integer labels, without padding."""

import operator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import checks
from keras_attention.types import Tensor

_LARGEST = 2**31 - 1
_NO_CLASS = -(2**31)  # a label that is neither a class nor an `ignore_class`


@keras.saving.register_keras_serializable(package="keras_attention")
class SequenceCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels with label smoothing, a mean over unmasked tokens.

        loss(token) = -sum_k q(k) log p(k);  q(k) = (1 - eps) [k = label] + eps / V

    `keras.losses.SparseCategoricalCrossentropy` with label smoothing, which Keras has for one-hot
    labels only; these take V times the memory. Computed in float32 also for float16 logits, and in
    float64 with `dtype="float64"`.

    Masking: a token counts unless its label is `ignore_class`, the Keras mask of the predictions
    hides it, or its sample weight is 0; its predictions may then be anything. The loss is
    `sum(weight loss) / sum(weight)`, and 0 where no token counts. Keras' own mean with sample
    weights divides by the number of all tokens instead.

    Wrong labels: a token that counts must have a label from 0 to V - 1. If one has not, the call
    raises a `ValueError` in eager mode. Compiled code (`fit`, `tf.function`, `jax.jit`) cannot
    raise: there the loss is NaN, and so is its gradient.

    Args:
        label_smoothing: Float eps in `[0, 1)`: this share of each label is spread evenly over the V
            classes.
        ignore_class: Integer label that does not count, such as the id of padding or -100, or
            `None`. It need not lie in `[0, V)`, nor fit the dtype of the labels.
        from_logits: Whether the predictions are logits rather than probabilities.
        name: String.
        dtype: Dtype of the arithmetic and of the loss; Keras' `floatx` (float32) if `None`.
            float16 and bfloat16 count as float32.

    Call arguments:
        y_true: Integer tensor `(B,)`, `(B, T)` or any other shape, of any integer dtype. Floats
            are taken if they are whole numbers.
        y_pred: Float tensor with the shape of `y_true` and one more axis, of V classes.
        sample_weight: Numbers of the shape of `y_true`, or of its first axes.

    Returns:
        The mean, a scalar.

    Raises:
        ValueError: If an argument is out of range or the shapes do not fit; in eager mode also if a
            label that counts is outside `[0, V)`.

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
        label_smoothing: float = 0.0,
        ignore_class: int | None = None,
        from_logits: bool = False,
        name: str = "sequence_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            name=name, reduction="mean_with_sample_weight", dtype=at_least_float32(dtype)
        )
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)
        self.ignore_class = class_id("ignore_class", ignore_class)
        self.from_logits = from_logits
        self._follows_floatx = dtype is None

    def __call__(self, y_true, y_pred, sample_weight=None):
        labels, predictions, weights = counted_tokens(
            y_true, y_pred, sample_weight, self.ignore_class, self.dtype
        )
        # Keras' base class would turn the labels into floats first.
        return _Mean(self.dtype)(self.call(labels, predictions), weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of each token, before the mean; a call of the loss itself gives the mean.

        Args:
            y_true: Integer tensor `(...)`, labels from 0 to V - 1.
            y_pred: Float tensor `(..., V)`.

        Returns:
            Float tensor `(...)`; NaN where the label is outside `[0, V)`.
        """
        return crossentropy(y_true, y_pred, self.label_smoothing, self.from_logits)

    def get_config(self):
        config = super().get_config()
        config.pop("reduction")
        return {
            **config,
            "label_smoothing": self.label_smoothing,
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
            "dtype": None if self._follows_floatx else self.dtype,
        }


def crossentropy(labels, predictions, label_smoothing=0.0, from_logits=False):
    """Cross-entropy of each token.

    Args:
        labels: Tensor `(...)` of integers from 0 to V - 1.
        predictions: Float tensor `(..., V)`.
        label_smoothing: Float in `[0, 1)`.
        from_logits: Whether the predictions are logits rather than probabilities.

    Returns:
        Float tensor `(...)`, never negative; NaN where the label is outside `[0, V)`.
    """
    if from_logits:
        # Shifted first: a difference of large numbers would lose its digits.
        # `initial`: an empty batch has no largest logit.
        top = ops.max(predictions, axis=-1, keepdims=True, initial=-float("inf"))  # (..., 1)
        top = ops.stop_gradient(top)
        shifted = predictions - top  # (..., V)
        log_p = shifted - ops.logsumexp(shifted, axis=-1, keepdims=True)  # (..., V)
    else:
        log_p = ops.log(ops.maximum(predictions, keras.config.epsilon()))  # (..., V)
    labels = whole_numbers(labels)
    inside = in_range(labels, predictions)  # (...)
    # Backends differ in what they read beyond an axis.
    index = ops.expand_dims(ops.where(inside, labels, 0), -1)  # (..., 1)
    losses = -ops.squeeze(ops.take_along_axis(log_p, index, axis=-1), -1)  # (...)
    if label_smoothing:
        # On JAX Keras' `mean` computes in float32, also for float64.
        mean = ops.sum(log_p, axis=-1) / ops.cast(ops.shape(log_p)[-1], log_p.dtype)  # (...)
        losses = (1.0 - label_smoothing) * losses - label_smoothing * mean
    # A product, so that the gradient is NaN as well.
    return losses * ops.cast(ops.where(inside, 1.0, float("nan")), losses.dtype)


def counted_tokens(y_true, y_pred, sample_weight, ignore_class, dtype):
    """The labels, predictions and weights of a loss or metric, finite where the weight is 0.

    Args:
        y_true: Tensor `(...)` or `(..., 1)` of whole numbers.
        y_pred: Float tensor `(..., V)`; its Keras mask, if any, is applied.
        sample_weight: Numbers of the shape of `y_true`, or of its first axes, or `None`.
        ignore_class: Integer label with a weight of 0, or `None`.
        dtype: String, `"float32"` or `"float64"`.

    Returns:
        Labels `(...)` in int32, predictions `(..., V)` and weights `(...)` in `dtype`. Where the
        weight is 0 the label is 0 and the predictions are 1.

    Raises:
        ValueError: If the shapes do not fit; in eager mode also if a label that counts is outside
            `[0, V)`.
    """
    if not hasattr(y_pred, "shape"):  # a tensor may carry a Keras mask, which a copy would lose
        y_pred = ops.convert_to_tensor(y_pred)
    y_true = _squeeze_label(ops.convert_to_tensor(y_true), y_pred)
    labels = whole_numbers(y_true)
    weights = _token_weights(labels, y_pred, sample_weight, ignore_class, dtype)
    counted = ops.not_equal(weights, 0.0)
    y_pred = ops.cast(ops.convert_to_tensor(y_pred), dtype)
    is_fine = ops.logical_or(in_range(labels, y_pred), ops.logical_not(counted))
    _check_labels(y_true, is_fine, y_pred, ignore_class)
    # Ones are fine logits and, as far as logarithms go, fine probabilities.
    predictions = ops.where(ops.expand_dims(counted, -1), y_pred, ops.ones_like(y_pred))
    return ops.where(counted, labels, 0), predictions, weights


def whole_numbers(labels):
    """Labels as int32. Others, such as 2.5 or 2**40, become an int32 that is no class."""
    labels = ops.convert_to_tensor(labels)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if dtype in ("bool", "int8", "int16", "int32", "uint8", "uint16"):
        return ops.cast(labels, "int32")
    if keras.backend.is_float_dtype(dtype):
        if dtype != "float64":
            labels = ops.cast(labels, "float32")
        fits = ops.logical_and(ops.equal(labels, ops.floor(labels)), ops.abs(labels) < 2.0**31)
    elif dtype == "int64":
        fits = ops.logical_and(labels <= _LARGEST, labels >= -_LARGEST)
    else:  # uint32, uint64
        fits = labels <= ops.cast(_LARGEST, dtype)
    return ops.where(
        fits, ops.cast(ops.where(fits, labels, ops.zeros_like(labels)), "int32"), _NO_CLASS
    )


def in_range(labels, predictions):
    """Whether each label `(...)` is one of the V classes of the predictions `(..., V)`."""
    classes = ops.shape(predictions)[-1]
    return ops.logical_and(ops.greater_equal(labels, 0), ops.less(labels, classes))


def class_id(name, value):
    """`value` as a 32-bit integer, or `None`; raises a `ValueError` for anything else."""
    if value is None:
        return None
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or abs(number) > _LARGEST:
        raise ValueError(f"`{name}` must be a 32-bit integer or `None`. Received: {name}={value!r}")
    return number


def at_least_float32(dtype):
    """`"float64"` if `dtype` (or, for `None`, Keras' `floatx`) says so, else `"float32"`."""
    policy = keras.dtype_policies.get(dtype or keras.config.floatx())
    return "float64" if policy.compute_dtype == "float64" else "float32"


def _token_weights(labels, y_pred, sample_weight, ignore_class, dtype):
    """How much each token counts: a tensor of the shape of the labels."""
    sizes = zip(labels.shape, y_pred.shape[:-1], strict=False)
    if len(labels.shape) != len(y_pred.shape) - 1 or any(
        isinstance(size, int) and isinstance(other, int) and size != other for size, other in sizes
    ):
        raise ValueError(
            "The predictions must have the labels' shape and one axis more, for the classes. "
            f"Received: y_true.shape={tuple(labels.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight, dtype)
        while len(sample_weight.shape) < len(labels.shape):
            sample_weight = ops.expand_dims(sample_weight, -1)
    weights = _Ones(dtype)(labels, y_pred, sample_weight=sample_weight)
    if ignore_class is None:
        return weights
    return ops.where(ops.equal(labels, ignore_class), ops.zeros_like(weights), weights)


def _check_labels(y_true, is_fine, y_pred, ignore_class):
    """Raises a `ValueError` for labels outside `[0, V)` in eager mode."""
    try:
        all_fine = bool(ops.convert_to_numpy(ops.all(is_fine)))
    except Exception:  # each backend raises its own for a tensor of a traced function
        return
    if not all_fine:
        wrong = ops.convert_to_numpy(y_true)[~ops.convert_to_numpy(is_fine)]
        raise ValueError(
            "Labels must lie in [0, V) or be `ignore_class`. Received: labels "
            f"{np.unique(wrong)[:5].tolist()}, V={y_pred.shape[-1]}, ignore_class={ignore_class}"
        )


def _squeeze_label(y_true, y_pred):
    """Keras passes labels `(B,)` as `(B, 1)`."""
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        return ops.squeeze(y_true, -1)
    return y_true


class _Ones(keras.losses.Loss):
    """A loss of 1 for each token: weighted by Keras, it is the weight of each token.

    The only public way to the Keras mask of predictions is the base class of losses.
    """

    def __init__(self, dtype):
        super().__init__(name="token_weights", reduction=None, dtype=dtype)

    def call(self, y_true, y_pred):
        return ops.ones(ops.shape(y_true), self.dtype)


class _Mean(keras.losses.Loss):
    """The weighted mean of a loss for each token, divided among replicas as Keras does it."""

    def __init__(self, dtype):
        super().__init__(name="mean", reduction="mean_with_sample_weight", dtype=dtype)

    def __call__(self, losses, weights):
        # With one axis more: Keras returns the losses of an empty batch `(0,)` unreduced.
        losses, weights = ops.expand_dims(losses, 0), ops.expand_dims(weights, 0)
        return super().__call__(losses, losses, sample_weight=weights)

    def call(self, y_true, y_pred):
        return y_pred
