"""Scores of classes, against counts by hand."""

import numpy as np
import pytest

from recipes.kit import classes

# Ten rows of three classes; the third class is never found, and one of the first is taken for it.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 0])
FOUND = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 0])
NAMES = ["sea", "sky", "a|b"]


def test_counts_and_scores_of_each_class():
    rows = classes.by_class(NAMES, {"train": np.array([2, 1, 1]), "test": LABELS}, LABELS, FOUND)
    assert list(rows) == NAMES
    assert [row["train"] for row in rows.values()] == [0, 2, 1]
    assert [row["test"] for row in rows.values()] == [5, 3, 2]
    # sea: four of six found are right, of five; sky: two of four, of three.
    assert rows["sea"]["precision"] == pytest.approx(4 / 6, abs=1e-4)
    assert rows["sea"]["recall"] == pytest.approx(4 / 5)
    assert rows["sky"]["f1"] == pytest.approx(2 * 2 / (4 + 3), abs=1e-4)
    assert rows["a|b"]["f1"] == 0


def test_macro_f1_is_the_mean_of_classes():
    rows = classes.by_class(NAMES, {}, LABELS, FOUND)
    expected = np.mean([row["f1"] for row in rows.values()])
    assert classes.macro_f1(LABELS, FOUND) == pytest.approx(expected, abs=1e-4)


def test_most_frequent_is_that_of_the_training():
    scores = classes.most_frequent(np.array([1, 1, 0, 2]), LABELS)
    assert scores["accuracy"] == pytest.approx(0.3)
    assert scores["macro_f1"] == pytest.approx((2 * 3 / (10 + 3)) / 3)


def test_measure_is_finite_where_the_truth_has_no_probability():
    scores = classes.measure(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], "float32"))
    assert scores["accuracy"] == 0.5
    assert scores["log_loss"] == pytest.approx(-np.log(1e-7) / 2, rel=1e-4)


def test_table_has_shares_and_stays_a_table():
    rows = classes.by_class(NAMES, {"test": LABELS}, LABELS, FOUND)
    lines = classes.table(rows).split("\n")
    assert lines[2].startswith("| sea | 5 (50.0%) | 0.667 | 0.800 |")
    assert "a\\|b" in lines[4] and lines[-1].startswith("| all | 10 |")


def test_calibration_error_is_the_mean_gap_of_bins():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1.0, 1.0, 1.0], 500)
    labels = rng.integers(3, size=500)
    sure, found = probabilities.max(axis=1), probabilities.argmax(axis=1)
    expected = 0.0
    for low in range(15):
        rows = [row for row in range(500) if low / 15 < sure[row] <= (low + 1) / 15]
        if rows:
            right = np.mean([found[row] == labels[row] for row in rows])
            expected += len(rows) / 500 * abs(right - np.mean([sure[row] for row in rows]))
    assert classes.calibration_error(labels, probabilities) == pytest.approx(expected)
    certain = np.eye(3)[labels]
    assert classes.calibration_error(labels, certain) == 0
    assert classes.calibration_error((labels + 1) % 3, certain) == 1
