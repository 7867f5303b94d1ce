"""How well masks agree: Dice, intersection over union, and F1 of boundaries."""

import numpy as np

TOLERANCE = 2  # pixels that a boundary may be off


def measure(found, wanted):
    """Means over images of what each gives alone.

        dice = 2 |A & B| / (|A| + |B|),  iou = |A & B| / |A | B|

    and `boundary_f1`, the F1 of boundary pixels: of A's boundary those that lie within `TOLERANCE`
    pixels of B's, and the other way around. Two masks without foreground agree fully.

    Args:
        found, wanted: Lists of boolean arrays `(H, W)`.

    Returns:
        Dict of `dice`, `iou` and `boundary_f1`, in `[0, 1]`.

    >>> measure([np.eye(4, dtype=bool)], [np.eye(4, dtype=bool)])
    {'dice': 1.0, 'iou': 1.0, 'boundary_f1': 1.0}

    Reference:
        Csurka et al., 2013, section 3.2, https://doi.org/10.5244/C.27.32 (per image, at a tolerance
        of pixels)
    """
    rows = [(dice(a, b), iou(a, b), boundary_f1(a, b)) for a, b in zip(found, wanted, strict=True)]
    means = np.mean(rows, axis=0)
    return dict(zip(("dice", "iou", "boundary_f1"), map(float, means), strict=True))


def dice(a, b):
    """Twice what both have, as a share of what each has."""
    total = a.sum() + b.sum()
    return 2 * (a & b).sum() / total if total else 1.0


def iou(a, b):
    """What both have, as a share of what either has."""
    either = (a | b).sum()
    return (a & b).sum() / either if either else 1.0


def boundary_f1(a, b, tolerance=TOLERANCE):
    """F1 of the boundary pixels of two masks; see `measure`."""
    a, b = boundary(a), boundary(b)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    precision = (a & _near(b, tolerance)).sum() / a.sum()
    recall = (b & _near(a, tolerance)).sum() / b.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask):
    """The pixels of a mask beside one that is not of it; the image's edge is no boundary.

    >>> boundary(np.ones((3, 3), bool)).any()
    np.False_
    """
    padded = np.pad(mask, 1, "edge")
    inner = padded[1:-1, 1:-1]
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return inner & ~np.logical_and.reduce(beside)


def _near(mask, tolerance):
    """The pixels at most `tolerance` away from one of a mask."""
    rows, columns = mask.shape
    padded = np.pad(mask, tolerance)
    steps = range(-tolerance, tolerance + 1)
    parts = [
        padded[tolerance + y : tolerance + y + rows, tolerance + x : tolerance + x + columns]
        for y in steps
        for x in steps
        if y * y + x * x <= tolerance**2
    ]
    return np.logical_or.reduce(parts)
