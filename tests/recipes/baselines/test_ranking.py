"""Ranking figures against ranks counted by hand, and the two simple recommenders."""

import numpy as np
import pytest

from recipes.baselines import ranking


def fixed(rows):
    """A recommender that gives these rows in turn, whatever the histories."""
    rows = iter(np.asarray(rows, float))
    return lambda histories: [next(rows) for _ in histories]


def test_ranks_by_hand():
    # Items 1 to 5. The first user took 1 and 2, which do not count: 3 is second after 5.
    histories = [np.array([1, 2]), np.array([4, 5])]
    scores = [[9, 8, 4, 1, 7], [1, 2, 3, 9, 9]]
    figures = ranking.measure(fixed(scores), histories, np.array([3, 3]), 5, negatives=0)
    assert figures["hr@10"] == 1
    assert figures["ndcg@10"] == pytest.approx((1 / np.log2(3) + 1) / 2)
    assert figures["mrr"] == pytest.approx((1 / 2 + 1) / 2)


def test_only_the_first_ten_places_count():
    histories, targets = [np.array([20])] * 2, np.array([10, 11])
    scores = [-np.arange(20)] * 2
    figures = ranking.measure(fixed(scores), histories, targets, 20, negatives=0)
    assert figures["hr@10"] == 0.5
    assert figures["ndcg@10"] == pytest.approx(1 / np.log2(11) / 2)
    assert figures["mrr"] == pytest.approx((1 / 10 + 1 / 11) / 2)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_equal_scores_and_nan_are_no_hits(value):
    figures = ranking.measure(fixed([[value] * 30]), [np.array([1])], np.array([2]), 30)
    assert figures["hr@10"] == 0
    assert figures["mrr"] == pytest.approx(1 / 29)


def test_sampled_negatives_are_unseen_and_the_same_for_all():
    rng = np.random.default_rng(1)
    histories = [rng.permutation(np.arange(1, 301))[:n] for n in rng.integers(1, 99, 40)]
    targets = np.array([history[-1] for history in histories])
    histories = [np.append(history[:-1], 300) for history in histories]
    targets = np.where(targets == 300, 299, targets)
    histories = [h[h != t] for h, t in zip(histories, targets, strict=True)]
    table = rng.normal(size=(301, 300))

    def score(queries):
        return np.stack([table[query[0]] for query in queries])

    figures = ranking.measure(score, histories, targets, 300)
    assert figures == ranking.measure(score, histories, targets, 300)
    assert figures != ranking.measure(score, histories, targets, 300, seed=1)
    assert figures["hr@10 of 100"] > figures["hr@10"]
    # With as many negatives as there are items, both are the same.
    everything = ranking.measure(score, histories, targets, 300, negatives=1000)
    assert everything["mrr of 1000"] == pytest.approx(everything["mrr"])


def test_histories_are_scored_in_any_order_and_reported_for_their_own_targets():
    histories = [np.arange(1, n + 1) for n in (9, 2, 5, 1, 7)]
    targets = np.array([len(history) + 1 for history in histories])

    def next_number(queries):
        return np.eye(12)[[len(query) for query in queries]]

    figures = ranking.measure(next_number, histories, targets, 12, batch=2, negatives=0)
    assert figures["mrr"] == 1


HISTORIES = [np.array([1, 2, 3]), np.array([1, 2]), np.array([4, 1, 3])]


def test_popularity():
    score = ranking.popularity(HISTORIES, 5)
    assert score([np.array([2]), np.array([5])]).tolist() == [[3, 2, 2, 1, 0]] * 2


def test_markov_counts_what_followed_and_asks_popularity_between_equals():
    score = ranking.markov(HISTORIES, 5)
    after_one, after_five = score([np.array([3, 1]), np.array([5])])
    assert np.argsort(-after_one).tolist()[:2] == [1, 2]  # twice item 2, once item 3
    assert after_one[1] == pytest.approx(2 + 2 / 4)
    assert np.argsort(-after_five, kind="stable").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_item_knn_by_the_formula(decay):
    users = [set(history.tolist()) for history in HISTORIES]

    def cosine(i, j):
        of_i, of_j = ({n for n, items in enumerate(users) if item in items} for item in (i, j))
        return len(of_i & of_j) / np.sqrt(len(of_i) * len(of_j)) if of_i and of_j else 0.0

    query = [4, 1, 2]
    expected = [
        sum(decay ** (2 - step) * cosine(i, j) for step, j in enumerate(query) if i != j)
        for i in range(1, 6)
    ]
    found = ranking._by_recent(ranking._cosines(HISTORIES, 5), decay)(
        [np.array(query), np.array([3])]
    )
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_item_knn_takes_the_decay_that_ranks_last_items_best():
    """Next comes what is alike to the last item; what was before is noise."""
    rng = np.random.default_rng(0)
    histories = []
    for _ in range(60):
        noise = rng.permutation(np.arange(21, 41))[:6]
        pair = rng.integers(0, 10)
        histories.append(np.array([*noise, 2 * pair + 1, 2 * pair + 2], "int32"))
    score = ranking.item_knn(histories, 40)
    last = [score([np.array([30, 25, odd])])[0].argmax() + 1 for odd in range(1, 20, 2)]
    assert last == list(range(2, 21, 2))
