"""Averages of values by weights, the last step of attention."""

import keras
from keras import ops

from keras_attention.functional.normalize import LOWEST, softmax_of_rows
from keras_attention.functional.shapes import reshape
from keras_attention.functional.under_xla import is_under_xla


def average(weights, value):
    """`weights @ value` for weights `(..., T, S)` and a value `(..., S, D)`."""
    return with_shared(ops.matmul, weights, value)


def softmax_average(scores, value, mask=None, known=None):
    """`softmax(scores, mask) @ value` for rows that each have an allowed step, for blocks.

    On TensorFlow with a gradient of its own, which passes over the scores half as often:

        dV = P^T dO;  dS = P * (dO V^T - rowsum(dO * O))

    Under XLA the context is divided by the sum of the exponentials, and not each weight.

    Args:
        scores: Tensor `(..., T, S)`.
        value: Tensor `(..., S, D)`.
        mask: Boolean tensor that broadcasts to the scores, or `None`.
        known: The context, where it has been computed before and its gradient alone is wanted.

    Returns:
        The context `(..., T, D)`; anything in rows without an allowed step.

    Reference:
        Dao et al., 2022, appendix B, https://arxiv.org/abs/2205.14135
    """
    lead = tuple(scores.shape[:-2])
    is_alike = lead == tuple(value.shape[:-2]) and scores.dtype == value.dtype
    is_wide = keras.backend.standardize_dtype(scores.dtype) in ("float32", "float64")
    if keras.backend.backend() != "tensorflow" or not (is_alike and is_wide):
        return average(ops.cast(softmax_of_rows(scores, mask), value.dtype), value)
    import tensorflow as tf

    if None in lead:  # of a batch that turns out to be 1 the gradient would be a sum
        value = ops.broadcast_to(value, (*ops.shape(scores)[:-2], *ops.shape(value)[-2:]))

    @tf.custom_gradient
    def averaged(scores, value):
        if is_under_xla():
            weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
            total = tf.reduce_sum(weights, axis=-1, keepdims=True)
        else:
            weights, total = softmax_of_rows(scores), None
        context = known
        if known is None:
            context = tf.matmul(weights, value)
            context = context if total is None else context / total

        def backward(upstream):
            mean = tf.reduce_sum(upstream * context, axis=-1, keepdims=True)
            if total is not None:
                upstream, mean = upstream / total, mean / total
            by_weights = tf.matmul(upstream, value, transpose_b=True)
            by_value = tf.matmul(weights, upstream, transpose_a=True)
            return weights * (by_weights - mean), by_value

        return context, backward

    return averaged(scores if mask is None else ops.where(mask, scores, LOWEST), value)


def with_shared(product, rows, shared):
    """`product(rows, shared)` for `(..., R, T, _)` and `(..., S, _)`.

    Where the axis of R is 1 in `shared`, as for a group of heads that has its keys together, all
    its rows are taken as rows of one: nothing is repeated.
    """
    is_shared = len(rows.shape) == len(shared.shape) > 3 and shared.shape[-3] == 1 != rows.shape[-3]
    if not is_shared:
        return product(rows, shared)
    *lead, group, steps, size = ops.shape(rows)
    folded = reshape(rows, (*lead, group * steps, size))
    found = product(folded, ops.squeeze(shared, -3))
    return reshape(found, (*lead, group, steps, ops.shape(found)[-1]))
