"""How well a recommender ranks the item that a user took next, and simple ones to compare with.

A recommender is here a function from a list of B histories, int32 arrays of items from 1 to V, to
scores `(B, V)`, of which higher is better.
"""

import numpy as np

TOP = 10
NEGATIVES = 100
DECAYS = (1.0, 0.9, 0.8, 0.6, 0.4, 0.2)
PROTOCOL = (
    "Each user's last item is the target, ranked among all items that the user has not taken "
    "(`hr@10`, `ndcg@10`, `mrr`), and among 100 of them drawn evenly (`of 100`). HR is the share "
    "of targets in the first ten positions. The last item but one was for validation; the model "
    "did not learn from it, but sees it in the test history."
)


def measure(score, histories, targets, num_items, *, seed=0, batch=64, negatives=NEGATIVES):
    """Ranks each user's next item, and returns the means over the users.

    All items: the target is ranked among the items that the user has not taken before, whatever
    they are. Sampled: it is ranked among 100 items drawn evenly, without replacement, from those
    that the user has not taken (fewer if there are not so many). This is the older custom; it makes
    everything look better, and is there to compare with papers.

    With r the target's rank, counted from 1, HR@10 is the share of users with r <= 10, NDCG@10 the
    mean of 1 / log2(1 + r) where r <= 10 and of 0 elsewhere, MRR the mean of 1 / r. An item with
    the target's score, or with none (NaN), counts as ranked before it.

    Args:
        score: The recommender.
        histories: List of int32 arrays, what each user took before.
        targets: Array, the item that each user took next.
        num_items: Integer V.
        seed: Integer, of the sampled items: the same for every recommender.
        batch: Integer, users to score at once.
        negatives: Integer, items to sample; 0 for none.

    Returns:
        Dict of floats: `hr@10`, `ndcg@10`, `mrr`; and, with negatives, the same three of them,
        `hr@10 of 100` and so on.
    """
    rng = np.random.default_rng(seed)
    ranks, sampled_ranks = [], []
    # Histories of similar length are padded little.
    order = np.argsort([len(history) for history in histories], kind="stable")
    for first in range(0, len(order), batch):
        users = order[first : first + batch]
        scores = np.array(score([histories[user] for user in users]), "float64")
        for user, row in zip(users, scores, strict=True):
            target = targets[user] - 1
            before = ~(row < row[target])
            before[target] = False
            before[histories[user] - 1] = False
            ranks.append(1 + before.sum())
            if negatives:
                others = np.ones(num_items, bool)
                others[histories[user] - 1] = False
                others[target] = False
                others = np.flatnonzero(others)
                drawn = rng.choice(others, min(negatives, len(others)), replace=False)
                sampled_ranks.append(1 + before[drawn].sum())
    figures = _means(np.array(ranks))
    if negatives:
        sampled = _means(np.array(sampled_ranks))
        figures |= {f"{name} of {negatives}": value for name, value in sampled.items()}
    return figures


def _means(ranks):
    is_hit = ranks <= TOP
    return {
        f"hr@{TOP}": float(is_hit.mean()),
        f"ndcg@{TOP}": float((is_hit / np.log2(1 + ranks)).mean()),
        "mrr": float((1 / ranks).mean()),
    }


def popularity(histories, num_items):
    """The recommender that ranks all items by how many users took them."""
    counts = np.bincount(np.concatenate(histories), minlength=num_items + 1)[1:]
    return lambda queries: np.tile(counts, (len(queries), 1))


def markov(histories, num_items):
    """The recommender that ranks by how often an item directly followed the last one.

    Popularity decides between equals.
    """
    from scipy.sparse import csr_matrix

    pairs = np.concatenate([np.stack([h[:-1], h[1:]]) for h in histories], axis=1)
    followed = csr_matrix(
        (np.ones(pairs.shape[1]), (pairs[0], pairs[1])), (num_items + 1, num_items + 1)
    )
    popular = popularity(histories, num_items)

    def score(queries):
        counts = followed[[history[-1] for history in queries]].toarray()[:, 1:]
        prior = popular(queries)
        return counts + prior / (1 + prior.max())

    return score


def item_knn(histories, num_items):
    """The recommender that ranks by how alike an item is to the past ones, the recent ones most.

        score(i) = sum over past items j of decay^(items after j) cos(i, j)

    where cos compares the users who took i with those who took j. The decay is the one of `DECAYS`
    that ranks the last items of the histories best.

    Reference:
        Sarwar et al., 2001, section 3.1.1 (the similarity), https://doi.org/10.1145/371920.372071
    """
    known = [history for history in histories if len(history) > 1]
    before, last = [history[:-1] for history in known], [history[-1] for history in known]
    alike = _cosines(before, num_items)

    def quality(decay):
        score = _by_recent(alike, decay)
        return measure(score, before, last, num_items, negatives=0)[f"ndcg@{TOP}"]

    return _by_recent(_cosines(histories, num_items), max(DECAYS, key=quality))


def _cosines(histories, num_items):
    """The cosine of each two items by their users, 0 of an item with itself: sparse, V + 1 rows."""
    from scipy.sparse import diags

    taken = _users_by_items(histories, num_items + 1, np.ones)
    sizes = np.sqrt(np.maximum(taken.sum(axis=0), 1)).A1
    taken = taken @ diags(1 / sizes)
    alike = (taken.T @ taken).tocsr()
    alike.setdiag(0)
    return alike


def _by_recent(alike, decay):
    def weigh(length):
        return decay ** np.arange(length - 1.0, -1, -1)

    def score(queries):
        return (_users_by_items(queries, alike.shape[0], weigh) @ alike).toarray()[:, 1:]

    return score


def _users_by_items(histories, width, weigh):
    """A sparse matrix with a row per history, and in it the weights of its items by `weigh`."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    weights = np.concatenate([weigh(len(history)) for history in histories])
    return csr_matrix((weights, (rows, np.concatenate(histories))), (len(histories), width))
