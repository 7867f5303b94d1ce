"""How well a classifier tells classes apart: scores of all, and of each class.

scores = measure(labels, probabilities)        # accuracy, log loss, macro F1
rows = by_class(names, splits, labels, probabilities.argmax(1))
print(table(rows))                             # Markdown, for the model card
"""

import numpy as np


def measure(labels, probabilities):
    """Accuracy, log loss in nats and macro F1, as a dict.

    Args:
        labels: Integer array `(N,)`.
        probabilities: Float array `(N, C)`.

    >>> measure([0, 1, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]))
    {'accuracy': 0.5, 'log_loss': 0.48..., 'macro_f1': 0.5}
    """
    own = np.maximum(np.asarray(probabilities)[np.arange(len(labels)), labels], 1e-7)
    found = np.argmax(probabilities, axis=1)
    return {
        "accuracy": float(np.mean(found == labels)),
        "log_loss": float(-np.mean(np.log(own, dtype="float64"))),
        "macro_f1": macro_f1(labels, found),
    }


def calibration_error(labels, probabilities, bins=15):
    """Expected calibration error: how far probabilities are from how often they are right.

        ECE = sum over bins of (n_b / N) |accuracy of b - mean probability of b|

    The bins part `(0, 1]` evenly, by the probability of the class that was found.

    Args:
        labels: Integer array `(N,)`.
        probabilities: Float array `(N, C)`.
        bins: Positive integer.

    >>> calibration_error([0, 1], np.array([[0.9, 0.1], [0.7, 0.3]]))
    0.4

    Reference: Guo et al., 2017, eq. 3, https://arxiv.org/abs/1706.04599
    """
    probabilities = np.asarray(probabilities, "float64")
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(number, right - sure, minlength=bins)  # times the size of the bin
    return round(float(np.abs(gaps).sum() / len(sure)), 10)


def macro_f1(labels, found):
    """The mean F1 of all classes that are in the labels or were found."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, found, average="macro", zero_division=0))


def most_frequent(train_labels, labels):
    """What the answer "always the most frequent label of the training" scores."""
    found = np.full(len(labels), np.bincount(train_labels).argmax())
    return {"accuracy": float(np.mean(found == labels)), "macro_f1": macro_f1(labels, found)}


def by_class(names, splits, labels, found):
    """How often each class occurs, and how well it is told in the test split.

    Args:
        names: List of C strings.
        splits: Dict from the name of a split to its labels, integer arrays.
        labels, found: Integer arrays `(N,)`, of the test split: what is true, and what was found.

    Returns:
        Dict from the name of a class to a dict of counts, a count for each split, and of
        `precision`, `recall` and `f1`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    every = np.arange(len(names))
    scores = precision_recall_fscore_support(labels, found, labels=every, zero_division=0)
    counts = {part: np.bincount(x, minlength=len(names)) for part, x in splits.items()}
    return {
        name: {part: int(counted[index]) for part, counted in counts.items()}
        | {
            score: round(float(values[index]), 4)
            for score, values in zip(("precision", "recall", "f1"), scores, strict=False)
        }
        for index, name in enumerate(names)
    }


def table(rows):
    """`by_class` in Markdown: counts with their shares, then the scores of the test."""
    parts = [
        name for name in next(iter(rows.values())) if name not in ("precision", "recall", "f1")
    ]
    totals = {part: max(1, sum(row[part] for row in rows.values())) for part in parts}
    lines = [("class", *parts, "precision", "recall", "F1"), ["---"] * (len(parts) + 4)]
    for name, row in rows.items():
        counted = [f"{row[part]:,} ({row[part] / totals[part]:.1%})" for part in parts]
        scores = [f"{row[score]:.3f}" for score in ("precision", "recall", "f1")]
        lines.append((name.replace("|", "\\|"), *counted, *scores))
    lines.append(("all", *(f"{totals[part]:,}" for part in parts), "", "", ""))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
