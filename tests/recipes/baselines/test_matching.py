"""Figures of rankings, and simple rankers."""

import numpy as np
import pytest

from recipes.baselines import matching
from recipes.data import candidates


def split_of(*queries):
    """A split of queries, each a list of labels."""
    rows = [(f"q{number}", label) for number, labels in enumerate(queries) for label in labels]
    names, labels = zip(*rows, strict=True)
    zeros = np.zeros(len(rows), "int32")
    return candidates.Split(list(names), [""] * len(rows), np.array(labels, "int32"), zeros)


def test_figures_of_a_ranking_by_hand():
    split = split_of([0, 1, 1, 0], [1, 0])
    found = matching.measure([4, 3, 2, 1, 1, 2], split)
    # Ranks 2 and 3 of the first query, rank 2 of the second.
    assert found["map"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2) / 2)
    assert found["mrr"] == pytest.approx(1 / 2)
    first = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert found["ndcg@10"] == pytest.approx((first + 1 / np.log2(3)) / 2)


def test_ndcg_counts_grades():
    split = split_of([1, 2])
    best, worst = (matching.measure(scores, split)["ndcg@10"] for scores in ([0, 1], [1, 0]))
    assert best == 1
    assert worst == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_the_order_of_the_file_does_not_matter():
    """A right candidate always comes first, and is not found by that."""
    rng = np.random.default_rng(0)
    split = split_of(*[[1, 0, 0, 0, 0]] * 300)
    constant = matching.measure(np.zeros(len(split)), split)["map"]
    random = matching.measure(rng.random(len(split)), split)["map"]
    assert constant == pytest.approx(random, abs=0.05)
    assert constant == pytest.approx(np.mean(1 / np.arange(1, 6)), abs=0.03)
    ties = rng.integers(0, 2, len(split))
    backwards = np.concatenate([rows[::-1] for rows in split.groups()])
    turned = split.take(backwards)
    assert matching.measure(ties, split) == matching.measure(ties[backwards], turned)


def test_a_score_that_is_no_number_ranks_last():
    assert matching.measure([np.nan, 0.0], split_of([1, 0]))["mrr"] == 0.5


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    queries, documents, labels = [], [], []
    for number in range(40):
        right = int(rng.integers(0, 4))
        for candidate in range(4):
            queries.append(f"who built mill{number}")
            is_right = candidate == right
            documents.append(f"the old mill{number if is_right else number + 1} , it was built")
            labels.append(int(is_right))
    split = candidates.Split(queries, documents, np.array(labels, "int32"))
    return candidates.Split(
        queries, documents, split.labels, np.tile(np.arange(4, dtype="int32"), 40)
    )


def test_bm25_finds_the_rare_word(pairs):
    assert matching.measure(matching.bm25(pairs, pairs), pairs)["map"] == 1
    # A word that is shared twice counts more, but not twice as much.
    two = candidates.Split(["mill7"] * 2, ["mill7 x", "mill7 mill7"], np.array([0, 1], "int32"))
    once, twice = matching.bm25(pairs, two)
    assert once < twice < 2 * once


def test_logistic_regression_learns_that_rare_words_count(pairs):
    scores = matching.logistic_regression(pairs, pairs)
    assert matching.measure(scores, pairs)["map"] > 0.95


def test_logistic_regression_knows_positions_only_if_told(pairs):
    first = candidates.Split(
        pairs.queries, ["it"] * len(pairs), (pairs.positions == 0).astype("int32"), pairs.positions
    )
    with_position, without = (
        matching.baselines(first, first, with_position=known) for known in (True, False)
    )
    assert with_position["logistic regression on shared words and position"]["map"] == 1
    assert without["logistic regression on shared words"]["map"] < 0.7
