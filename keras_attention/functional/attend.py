"""Attention as a whole, or in one of the ways that save memory."""

from keras_attention.memory import fused_jax, plans


def attend(attention, return_weights=True):
    """Scores, normalizes and averages; without the weights in as little memory as possible.

    Each row of weights depends on its own query alone. So where the weights are not wanted, the
    rows of large scores are computed in blocks of queries, and for a window with the keys near
    them alone: the same numbers, though scores `(..., T, S)` never exist as a whole. Plain dot
    products may be computed by a fused kernel. All that is in `keras_attention.memory`; to
    understand what attention computes, nobody needs to read it.

    Args:
        attention: `functional.attention.Attention`.
        return_weights: Whether the weights are wanted, and so have to exist.

    Returns:
        The context `(..., T, D_value)`, and the weights `(..., T, S)` or `None`.
    """
    if return_weights:
        return attention.with_weights()
    context = fused_jax.context(attention)  # `None`: no kernel for it
    if context is None:
        context = plans.context(attention)  # `None`: the scores are small
    if context is None:
        context = attention.context()
    return context, None
