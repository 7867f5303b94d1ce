"""How far two explanations put the parts of an input in the same order."""

import numpy as np


def agreement(attributions, mask):
    """Means of the rank correlations of each pair of methods, over examples where both order.

    Args:
        attributions: Dict, name of a method to floats `(B, U)`.
        mask: Booleans `(B, U)`, which parts an example has.
    """
    found = {name: {} for name in attributions}
    names = list(attributions)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            values = [
                _rank_correlation(x[is_part], y[is_part])
                for x, y, is_part in zip(attributions[name], attributions[other], mask, strict=True)
            ]
            values = [value for value in values if value is not None]
            found[name][other] = found[other][name] = (
                float(np.mean(values)) if values else float("nan")
            )
    return found


def _rank_correlation(x, y):
    """Spearman's rank correlation, `None` where one of both is the same everywhere."""
    if not len(x):
        return None
    x, y = (_mean_ranks(values) for values in (x, y))
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else None


def _mean_ranks(x):
    """Ranks from 0 by rising value; equal values share the mean of theirs."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[place.reshape(-1)]
