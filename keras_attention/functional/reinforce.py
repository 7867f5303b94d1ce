"""The objective of REINFORCE for attention: learning from choices that have no gradient."""

from keras import ops


def reinforce_objective(
    log_likelihood, choice, probabilities, baseline, reward_weight=1.0, entropy_weight=0.0
):
    """A scalar to maximize: the log-likelihood, with a gradient that teaches the choices too.

        gradient of  log p(y | s) + r (log p(y | s) - b) log p(s) + e H(probabilities)

    with the factor of r held constant. The value is the mean of log p(y | s) alone.

    Args:
        log_likelihood: Float tensor `(B,)`, log p(y | s).
        choice: Zeros and ones `(B, S)` or `(B, T, S)`, the steps s that were drawn.
        probabilities: Float tensor of the same shape that they were drawn by.
        baseline: Scalar b.
        reward_weight: Number r.
        entropy_weight: Number e.

    Returns:
        Scalar, in float32.

    Reference:
        Xu et al., 2015, section 4.1, https://arxiv.org/abs/1502.03044
    """
    log_p_y = ops.cast(log_likelihood, "float32")  # (B,)
    choice = ops.stop_gradient(ops.cast(choice, "float32"))
    probabilities = ops.cast(probabilities, "float32")
    log_p_s = _sum_of_rows(_log(ops.sum(choice * probabilities, axis=-1, keepdims=True)))  # (B,)
    entropy = -_sum_of_rows(probabilities * _log(probabilities))  # (B,)
    reward = ops.stop_gradient(log_p_y - baseline)
    extra = reward_weight * reward * log_p_s + entropy_weight * entropy
    return ops.mean(log_p_y + extra - ops.stop_gradient(extra))


def _log(x):
    """Logarithm, with 0 and no gradient at 0: what can't be chosen counts for nothing."""
    return ops.log(ops.where(x > 0, x, 1.0))


def _sum_of_rows(x):
    """Sum over everything but the batch, of one query or of several."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))
