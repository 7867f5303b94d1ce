"""Averages of values by weights, the last step of attention."""

from keras import ops

from keras_attention.functional.shapes import reshape


def average(weights, value):
    """`weights @ value` for weights `(..., T, S)` and a value `(..., S, D)`."""
    return grouped_matmul(ops.matmul, weights, value)


def grouped_matmul(matmul, rows, shared):
    """`matmul(rows, shared)` for `(..., R, T, _)` and `(..., S, _)`.

    Where the axis of R is 1 in `shared`, as for a group of heads that has its keys together, all
    its rows are taken as rows of one: nothing is repeated.
    """
    is_shared = len(rows.shape) == len(shared.shape) > 3 and shared.shape[-3] == 1 != rows.shape[-3]
    if not is_shared:
        return matmul(rows, shared)
    *lead, group, steps, size = ops.shape(rows)
    folded = reshape(rows, (*lead, group * steps, size))  # (..., R T, _)
    products = matmul(folded, ops.squeeze(shared, -3))  # (..., R T, _)
    return reshape(products, (*lead, group, steps, ops.shape(products)[-1]))
