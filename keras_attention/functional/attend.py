"""Score, normalize, average: the one place where attention is computed."""

from keras import ops


def attend(query, value, key, *, score, normalizer, mask=None, dropout=None):
    """Averages the values with the weights that the scores give them.

        weights = normalizer(score(query, key), mask);  context = dropout(weights) value

    Args:
        query: Tensor `(..., T, D_query)`.
        value: Tensor `(..., S, D_value)`.
        key: Tensor `(..., S, D_key)`.
        score: Function `(query, key) -> scores (..., T, S)`, or `(1, ..., T, S)` for all examples.
        normalizer: Function `(scores, mask) -> weights`, see `functional.normalize`.
        mask: Boolean tensor that broadcasts to `(..., T, S)`, or `None`.
        dropout: Function of the weights, or `None`. The returned weights are those before it.

    Returns:
        The context `(..., T, D_value)` and the weights `(..., T, S)`.
    """
    scores = score(query, key)  # (..., T, S)
    if scores.shape[0] == 1 != value.shape[0]:
        # The same for the whole batch, as positions are: noise and dropout must not be.
        scores = ops.broadcast_to(scores, (ops.shape(value)[0], *ops.shape(scores)[1:]))
    weights = normalizer(scores, mask)  # (..., T, S)
    weights = ops.cast(weights, value.dtype)
    kept = weights if dropout is None else dropout(weights)
    return ops.matmul(kept, value), weights
