"""Mean average precision of boxes, as COCO defines it.

A box is right if a true box of its class, which no more certain box has taken, overlaps it by a
threshold (intersection over union). Of each class the boxes of all images are ordered by their
scores; average precision is the mean, over 101 recalls from 0 to 1, of the best precision at that
recall or a higher one. mAP50 is its mean over the classes at the threshold 0.5; mAP also over the
thresholds 0.5, 0.55, ..., 0.95.

Reference:
    Lin et al., 2014 (COCO), https://arxiv.org/abs/1405.0312, and its evaluation, the package
    pycocotools
"""

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
MOST = 100  # boxes of a class in an image that count
_RECALLS = np.linspace(0, 1, 101)


def measure(truths, found, labels):
    """Figures of found boxes.

    Args:
        truths: List of a pair for each image, boxes `(n, 4)` (left, top, right, bottom) and their
            classes `(n,)`.
        found: List of a triple for each image: boxes `(m, 4)`, scores `(m,)`, classes `(m,)`.
        labels: List of the names of the classes.

    Returns:
        Dict of `mAP50` and `mAP`; dict from each label with a true box to its `AP50` and `AP`.

    >>> truth = np.array([[0.0, 0, 10, 10]]), np.array([0])
    >>> twice = np.array([[0.0, 0, 10, 8], [0, 0, 10, 10]]), np.array([0.9, 0.8]), np.array([0, 0])
    >>> scores, of_class = measure([truth], [twice], ["cat"])
    >>> scores["mAP50"], round(scores["mAP"], 2)     # at 0.85 and above only the second is right
    (1.0, 0.85)
    """
    of_class = {}
    for number, label in enumerate(labels):
        chosen = [boxes[classes == number] for boxes, classes in truths]
        if not sum(map(len, chosen)):
            continue
        certain = [
            (boxes[classes == number], scores[classes == number])
            for boxes, scores, classes in found
        ]
        values = [_average_precision(chosen, certain, threshold) for threshold in THRESHOLDS]
        of_class[label] = {"AP50": values[0], "AP": float(np.mean(values))}
    return {
        "mAP50": float(np.mean([figures["AP50"] for figures in of_class.values()])),
        "mAP": float(np.mean([figures["AP"] for figures in of_class.values()])),
    }, of_class


def overlaps(boxes, others):
    """Intersection over union of each of N boxes with each of M others: `(N, M)`."""
    boxes, others = (np.asarray(x, "float64").reshape(-1, 4) for x in (boxes, others))
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    meets = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=-1) for x in (boxes, others)]
    union = areas[0][:, None] + areas[1] - meets
    return np.divide(meets, union, out=np.zeros_like(meets), where=union > 0)


def _average_precision(truths, found, threshold):
    scores, is_right = [], []
    for true, (boxes, certainty) in zip(truths, found, strict=True):
        order = np.argsort(-certainty, kind="stable")[:MOST]
        scores.append(certainty[order])
        is_right.append(_right(overlaps(boxes[order], true), threshold))
    scores, is_right = np.concatenate(scores), np.concatenate(is_right)
    is_right = is_right[np.argsort(-scores, kind="stable")]
    right = np.cumsum(is_right)
    recall = right / sum(map(len, truths))
    precision = right / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # Recalls that are not reached count as 0.
    place = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(best, 0.0)[np.minimum(place, len(best))].mean())


def _right(overlap, threshold):
    """Which boxes, the most certain first, take a true one that is still free."""
    free = np.ones(overlap.shape[1], bool)
    is_right = np.zeros(len(overlap), bool)
    for row, values in enumerate(overlap):
        values = np.where(free, values, -1.0)
        # Of equal ones the last, as pycocotools has it.
        best = len(values) - 1 - int(np.argmax(values[::-1])) if len(values) else 0
        if len(values) and values[best] >= min(threshold, 1 - 1e-10):
            free[best], is_right[row] = False, True
    return is_right
