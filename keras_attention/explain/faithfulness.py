"""Faithfulness: whether the steps with the largest weights decide the prediction."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_attention.explain.probabilities import checked
from keras_attention.explain.removal import Steps, numbers_of, ranks

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)


def faithfulness(
    predict: Callable[[np.ndarray], Any],
    inputs: npt.ArrayLike,
    weights: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    fractions: Sequence[float] = FRACTIONS,
    padding: float = 0,
) -> dict[str, np.ndarray]:
    """Comprehensiveness and sufficiency: erases the top steps, or all others, and predicts again.

        comprehensiveness = p(x) - p(x without the top k)     high: the model needed them
        sufficiency       = p(x) - p(the top k alone)         low: the model needed nothing else

    p is the probability of the class that the model predicts for the whole of x, and k a fraction
    of its steps, rounded up. High weights alone are no explanation: compare with the same figures
    for random weights. Predicts `2 len(fractions) + 1` times.

    Erased steps are removed: the remaining steps move together, and padding fills the end.

    Args:
        predict: Function from inputs to probabilities `(B, C)`, or `(B,)` or `(B, 1)` of the
            second of two classes; such as `lambda ids: model.predict(ids, verbose=0)`.
        inputs: Array of ids `(B, S)` or of features `(B, S, D)`.
        weights: Array `(B, S)`, such as those of `AttentionPooling`.
        mask: Boolean `(B, S)`, or integers 0 and 1: `True` for steps that are not padding; if
            `None`, these are the steps that differ from `padding`.
        fractions: Sequence of fractions of the steps, each in (0, 1].
        padding: Number that the inputs are padded with, in the range of their dtype.

    Returns:
        Dict of NumPy arrays. `"comprehensiveness"` and `"sufficiency"`, `(B,)`, are the means over
        the fractions of `"comprehensiveness_at"` and `"sufficiency_at"`, `(B, len(fractions))`.

    Raises:
        ValueError: If the shapes do not fit, if a weight is NaN or infinite where `mask` is True,
            if `mask` holds anything but booleans, 0 and 1, if `fractions` or `padding` is out of
            range, or if `predict` does not return probabilities.

    Example:
        >>> import numpy as np
        >>> def predict(ids):  # looks for a 7
        ...     has_seven = np.any(ids == 7, axis=1)
        ...     return np.stack([1 - 0.9 * has_seven, 0.9 * has_seven], axis=1)
        >>> ids = np.array([[3, 7, 5, 0]])
        >>> figures = ka.faithfulness(predict, ids, np.array([[0.1, 0.8, 0.1, 0.0]]))
        >>> float(figures["comprehensiveness"][0]), float(figures["sufficiency"][0])
        (0.9, 0.0)

    Reference:
        DeYoung et al., 2020, eq. 1 and 2, https://arxiv.org/abs/1911.03429
        The paper's means count k = 0 as a further fraction; here only the given ones count.
    """
    parts, weights = Steps(inputs, mask, padding), np.asarray(weights, "float64")
    if weights.shape != parts.shape:
        raise ValueError(
            "`weights` must have the shape (batch, steps) of `inputs`. Received: "
            f"weights.shape={weights.shape}, inputs.shape={parts.inputs.shape}"
        )
    fractions = np.asarray(fractions, "float64")
    if fractions.ndim != 1 or not len(fractions) or not ((fractions > 0) & (fractions <= 1)).all():
        raise ValueError(
            f"`fractions` must be numbers in (0, 1]. Received: fractions={fractions.tolist()}"
        )
    if not np.isfinite(weights[parts.mask]).all():
        raise ValueError(
            "`weights` must be finite numbers where `mask` is True. Received: NaN or infinity"
        )

    rows = np.arange(len(parts))
    whole = checked("predict", predict(parts.inputs), parts.inputs)
    chosen = whole.argmax(axis=-1)[:, None]
    rank = ranks(weights, parts.mask)  # (B, S), 0 for the largest weight

    def drop(keep):
        """How far the probability of the chosen class falls if only `keep` stays, `(B,)`."""
        kept = parts.keep(rows, keep)
        kept = checked("predict", predict(kept), kept)
        return np.take_along_axis(whole - kept, chosen, axis=-1)[:, 0]

    comprehensiveness, sufficiency = [], []
    for fraction in fractions:
        top = rank < numbers_of(fraction, parts.mask)
        comprehensiveness.append(drop(parts.mask & ~top))
        sufficiency.append(drop(parts.mask & top))
    at = {
        "comprehensiveness_at": np.stack(comprehensiveness, axis=-1),
        "sufficiency_at": np.stack(sufficiency, axis=-1),
    }
    means = {name.removesuffix("_at"): values.mean(axis=-1) for name, values in at.items()}
    return {**means, **at}
