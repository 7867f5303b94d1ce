"""How well candidates are ranked for their queries, and simple rankers to compare with.

rows = data.test.answerable()
measure(scores, rows, seed=0)              # of scores (N,), one for each pair
measure(bm25(data.train, rows), rows)
"""

import math
import re
from collections import Counter

import numpy as np

TOP = 10
DRAWS = 10
PROTOCOL = (
    "Each query's candidates are ranked by their scores. Queries without a right candidate are "
    "left out. Candidates of equal scores are put in random orders, of which the mean counts, and "
    "never in the order of the file. `map` is the mean over the queries of the average precision, "
    "`mrr` of one over the rank of the first right candidate; `ndcg@10` counts a label as 2^label "
    "- 1, discounted by rank."
)
_KINDS = "who whom whose what which when where why how".split()


def measure(scores, split, *, seed=0):
    """MAP, MRR and NDCG@10 of scores, means over the queries, as a dict.

    Candidates of equal scores are drawn in random order, `DRAWS` times. The draw knows nothing of
    the order of the file: a query's figures are the same for any order of its candidates.

    Args:
        scores: Float array `(N,)`, of which higher is better; one that is NaN is the worst.
        split: `recipes.data.candidates.Split` of N pairs, each query with a right candidate.
        seed: Integer, of the draws.
    """
    rng = np.random.default_rng(seed)
    scores = np.nan_to_num(np.asarray(scores, "float64"), nan=-np.inf, neginf=-np.inf)
    figures = []
    for rows in split.groups():
        labels = split.labels[rows]
        order = np.lexsort([labels, scores[rows]])  # by what counts, not by the file
        ranked = scores[rows][order], labels[order]
        # Without ties one draw is as good as many.
        draws = DRAWS if len(np.unique(ranked[0])) < len(rows) else 1
        figures.append(np.mean([_of_query(*ranked, rng) for _ in range(draws)], axis=0))
    return dict(zip(("map", "mrr", f"ndcg@{TOP}"), np.mean(figures, 0).tolist(), strict=True))


def _of_query(scores, labels, rng):
    """Average precision, reciprocal rank and NDCG of one query."""
    order = rng.permutation(len(scores))
    labels = labels[order[np.argsort(-scores[order], kind="stable")]]
    ranks = 1 + np.flatnonzero(labels)  # of the right ones
    precision = np.mean(np.arange(1, 1 + len(ranks)) / ranks)
    return precision, 1 / ranks[0], _gain(labels) / _gain(np.sort(labels)[::-1])


def _gain(labels):
    gains = 2.0 ** labels[:TOP] - 1
    return np.sum(gains / np.log2(2 + np.arange(len(gains))))


def baselines(train, split, *, with_position=False, seed=0):
    """The figures of each simple ranker on a split, as a dict of dicts.

    Args:
        train, split: `recipes.data.candidates.Split`s, to learn from and to rank.
        with_position: Boolean, whether logistic regression knows a candidate's position.
        seed: Integer, of all draws.
    """
    known = " and position" if with_position else ""
    scores = {
        f"logistic regression on shared words{known}": logistic_regression(
            train, split, with_position=with_position
        ),
        "BM25": bm25(train, split),
        "random": chance(split, seed=seed),
    }
    return {name: measure(x, split, seed=seed) for name, x in scores.items()}


def chance(split, *, seed=0):
    """Random scores."""
    return np.random.default_rng(seed).random(len(split))


def bm25(train, split, *, k1=1.2, b=0.75):
    """BM25 of each pair of a split, with the frequencies of words in the candidates of `train`.

    Reference:
        Robertson & Zaragoza, 2009, equation 3.15, https://doi.org/10.1561/1500000019
    """
    statistics = _Statistics(train)
    scores = []
    for query, document in zip(split.queries, split.documents, strict=True):
        counts = Counter(words(document))
        length = 1 - b + b * counts.total() / statistics.mean_length
        scores.append(
            sum(
                statistics.idf(word) * counts[word] * (k1 + 1) / (counts[word] + k1 * length)
                for word in words(query)
            )
        )
    return np.array(scores)


def logistic_regression(train, split, *, with_position=False):
    """The probability that a candidate is right, by words that it shares and the kind of question.

    Args:
        train, split: `recipes.data.candidates.Split`s, to learn from and to score.
        with_position: Boolean, whether the candidate's position is a feature too.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    statistics = _Statistics(train)

    def features(rows):
        return [
            _features(statistics, *pair, position if with_position else None)
            for *pair, position in zip(rows.queries, rows.documents, rows.positions, strict=True)
        ]

    model = make_pipeline(
        DictVectorizer(), StandardScaler(with_mean=False), LogisticRegression(max_iter=1000, C=0.1)
    )
    rows = train.answerable()
    model.fit(features(rows), rows.labels > 0)
    return model.decision_function(features(split))


def words(text):
    """The words and numbers of a text in lower case.

    >>> words("The Titanic sank in 1912.")
    ['the', 'titanic', 'sank', 'in', '1912']
    """
    return re.findall(r"\w+", text.lower())


class _Statistics:
    """How many candidates each word stands in, and how long they are."""

    def __init__(self, train):
        documents = [words(text) for text in train.documents]
        self._count = len(documents)
        self._counts = Counter(word for document in documents for word in set(document))
        self.mean_length = max(1.0, sum(map(len, documents)) / self._count)

    def idf(self, word):
        count = self._counts[word]
        return math.log(1 + (self._count - count + 0.5) / (count + 0.5))


def _features(statistics, query, document, position):
    asked, told = words(query), words(document)
    shared = set(asked) & set(told)
    idf = {word: statistics.idf(word) for word in {*asked, *told}}
    weight, total = sum(map(idf.get, shared)), sum(map(idf.get, set(asked)))
    kind = next((word for word in asked if word in _KINDS), "other")
    if kind == "how":
        kind = " ".join(asked[asked.index("how") :][:2])  # how many, how long
    told_of = {
        "shared": len(shared),
        "idf": weight,
        "share": weight / max(total, 1e-6),
        "length": math.log1p(len(told)),
        "number": any(word[0].isdigit() for word in told),
        "names": sum(word[:1].isupper() for word in document.split()[1:]) / max(1, len(told)),
    }
    if position is not None:
        told_of |= {"position": math.log1p(position), "first": int(position == 0)}
    of_kind = {f"{kind} {name}": value for name, value in told_of.items()}
    return {f"kind {kind}": 1} | told_of | of_kind
