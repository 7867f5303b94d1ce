"""Faithfulness: whether the steps with the largest weights decide the prediction."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)


def faithfulness(
    predict: Callable[[np.ndarray], Any],
    inputs: npt.ArrayLike,
    weights: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    fractions: Sequence[float] = _FRACTIONS,
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
    inputs, weights = _checked_inputs(inputs), np.asarray(weights)
    if weights.ndim != 2 or inputs.shape[:2] != weights.shape:
        raise ValueError(
            "`weights` must have the shape (batch, steps) of `inputs`. Received: "
            f"weights.shape={weights.shape}, inputs.shape={inputs.shape}"
        )
    fractions = np.asarray(fractions, "float64")
    if fractions.ndim != 1 or not len(fractions) or not ((fractions > 0) & (fractions <= 1)).all():
        raise ValueError(
            f"`fractions` must be numbers in (0, 1]. Received: fractions={fractions.tolist()}"
        )
    _check_padding(padding, inputs)
    if mask is None:
        mask = inputs != padding
        mask = mask.any(axis=-1) if mask.ndim == 3 else mask
    mask = _checked_mask(mask, inputs)
    if not np.isfinite(weights[mask]).all():
        raise ValueError(
            "`weights` must be finite numbers where `mask` is True. Received: NaN or infinity"
        )

    whole = _probabilities(predict, inputs)
    chosen = whole.argmax(axis=-1)[:, None]
    rank = _ranks(weights, mask)  # (B, S), 0 for the largest weight

    def drop(keep):
        """How far the probability of the chosen class falls if only `keep` stays, `(B,)`."""
        kept = _probabilities(predict, _keep_steps(inputs, keep, padding))
        return np.take_along_axis(whole - kept, chosen, axis=-1)[:, 0]

    comprehensiveness, sufficiency = [], []
    for fraction in fractions:
        # 10 % of 30 steps are 3, though 0.1 * 30 in floats is a little more.
        k = [math.ceil(fraction * length - 1e-9) for length in mask.sum(axis=-1)]
        top = rank < np.array(k)[:, None]
        comprehensiveness.append(drop(mask & ~top))
        sufficiency.append(drop(mask & top))
    at = {
        "comprehensiveness_at": np.stack(comprehensiveness, axis=-1),
        "sufficiency_at": np.stack(sufficiency, axis=-1),
    }
    means = {name.removesuffix("_at"): values.mean(axis=-1) for name, values in at.items()}
    return {**means, **at}


def _checked_inputs(inputs):
    inputs = np.asarray(inputs)
    if inputs.ndim not in (2, 3) or inputs.dtype.kind not in "biuf":
        raise ValueError(
            "`inputs` must be one array of numbers, (batch, steps) or (batch, steps, features). "
            f"Received: inputs.shape={inputs.shape}, inputs.dtype={inputs.dtype}"
        )
    return inputs


def _check_padding(padding, inputs):
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            fits = np.ndim(padding) == 0 and np.asarray(padding).astype(inputs.dtype) == padding
    except (TypeError, ValueError):
        fits = False
    if not fits:  # nor does NaN, which equals nothing
        raise ValueError(
            "`padding` must be a number that the dtype of `inputs` can hold. Received: "
            f"padding={padding!r}, inputs.dtype={inputs.dtype}"
        )


def _checked_mask(mask, inputs):
    mask = np.asarray(mask)
    if mask.shape != inputs.shape[:2]:
        raise ValueError(
            "`mask` must have the shape (batch, steps) of `inputs`. Received: "
            f"mask.shape={mask.shape}, inputs.shape={inputs.shape}"
        )
    # A float mask may hold 0 and -1e9, which as booleans would be inverted.
    if mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            "`mask` must be boolean, True for steps that are no padding. Received: "
            f"mask.dtype={mask.dtype}"
        )
    return mask.astype("bool")


def _probabilities(predict, inputs):
    """Probabilities `(B, C)`; a single one of a binary classifier becomes two."""
    probabilities = np.asarray(predict(inputs), "float64")
    if probabilities.ndim == 1:
        probabilities = probabilities[:, None]
    if probabilities.ndim != 2 or len(probabilities) != len(inputs):
        raise ValueError(
            "`predict` must return probabilities (batch, classes). Received: shape "
            f"{probabilities.shape} for inputs of shape {inputs.shape}"
        )
    # Softmax in half precision may come out a little above 1.
    if not ((probabilities >= -0.01) & (probabilities <= 1.01)).all():
        raise ValueError(
            "`predict` must return probabilities, from 0 to 1; logits need a softmax or a sigmoid "
            f"first. Received: numbers from {probabilities.min():.3g} to {probabilities.max():.3g}"
        )
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return probabilities


def _ranks(weights, mask):
    """Rank of each step by falling weight, from 0; ties by position, padding last."""
    order = np.argsort(np.where(mask, -weights, np.inf), axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable")


def _keep_steps(inputs, keep, padding):
    """The steps where `keep` is True, moved together, then padding."""
    order = np.argsort(~keep, axis=-1, kind="stable")
    axes = (..., None) if inputs.ndim == 3 else ...
    moved = np.take_along_axis(inputs, order[axes], axis=1)
    kept = np.take_along_axis(keep, order, axis=1)
    return np.where(kept[axes], moved, np.asarray(padding, inputs.dtype))
