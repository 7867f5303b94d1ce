"""Statistics of clips: what is measured, and what a linear model makes of it."""

import numpy as np
import pytest

from recipes.baselines import clip_statistics
from recipes.data.toy import figures


def test_statistics_of_a_clip():
    clip = np.array([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0]])
    found = clip_statistics.statistics(clip).reshape(6, 2)
    expected = [5 / 3, np.std([0, 1, 4]), 0, 4, 2, 1]
    np.testing.assert_allclose(found[:, 0], expected)
    np.testing.assert_allclose(found[:, 1], [5, 0, 5, 5, 0, 0])
    assert clip_statistics.statistics(clip[:1]).tolist() == [0, 5, 0, 0, 0, 5, 0, 5, 0, 0, 0, 0]


def test_it_tells_actions_from_poses_wherever_they_stand():
    clips, labels = {}, {}
    for part, rows in zip(("train", "validation", "test"), figures.splits(80, 20, 40), strict=True):
        clips[part] = [row.frames for row in rows]
        labels[part] = np.array([figures.CLASSES.index(row.label) for row in rows])
    scores = clip_statistics.logistic_regression(clips, labels, 4, joints=True)
    assert scores["accuracy"] > 0.8
    moved = {**clips, "test": [100 + 7 * clip for clip in clips["test"]]}
    again = clip_statistics.logistic_regression(moved, labels, 4, joints=True)
    assert again["log_loss"] == pytest.approx(scores["log_loss"], abs=0.02)
    raw = clip_statistics.logistic_regression(moved, labels, 4)  # which knows what stands where
    assert raw["accuracy"] < 0.7
