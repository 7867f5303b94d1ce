"""Clips without a network: statistics of all frames together, and logistic regression."""

import numpy as np

from recipes.kit import classes


def logistic_regression(clips, labels, num_classes, *, joints=False):
    """Scores of logistic regression over statistics of each clip, on the test split.

    It has no use for a validation split, so it learns from that as well.

    Args:
        clips: Dict from the name of a split to a list of arrays `(T, N)`.
        labels: Dict from the same names to integer arrays.
        num_classes: Integer C.
        joints: Whether the numbers of a frame are x and y of joints: then their places within the
            frame and its own path are read apart, in shares of the clip's spread.

    Returns:
        Dict with `accuracy`, `log_loss` and `macro_f1`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    read = (lambda clip: statistics(_placed(clip))) if joints else statistics
    rows = np.stack([read(clip) for clip in clips["train"] + clips["validation"]])
    model.fit(rows, np.concatenate([labels["train"], labels["validation"]]))
    probabilities = np.zeros((len(clips["test"]), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(
        np.stack([read(clip) for clip in clips["test"]])
    )
    return classes.measure(labels["test"], probabilities)


def statistics(clip):
    """Of each number of the frames its mean, deviation, least and most, and how it changes.

    >>> statistics(np.array([[0.0], [2.0]])).tolist()
    [1.0, 1.0, 0.0, 2.0, 2.0, 0.0]
    """
    change = np.diff(clip, axis=0) if len(clip) > 1 else np.zeros((1, clip.shape[1]))
    parts = [clip.mean(0), clip.std(0), clip.min(0), clip.max(0)]
    return np.concatenate([*parts, np.abs(change).mean(0), change.std(0)])


def _placed(clip):
    """Joints less the middle of their frame, and its path from its mean, by the clip's spread."""
    x = clip.reshape(len(clip), -1, 2)
    centre = x.mean(axis=1, keepdims=True)  # (T, 1, 2)
    spread = np.sqrt(np.square(x - centre).sum() / (len(x) * x.shape[1])) + 1e-6
    path = (centre - centre.mean(axis=0))[:, 0]
    return np.concatenate([(x - centre).reshape(clip.shape), path], axis=1) / spread
