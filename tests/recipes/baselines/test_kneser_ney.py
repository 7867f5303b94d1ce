"""Kneser-Ney n-grams against the paper's formula, written with dicts."""

import collections
import itertools

import numpy as np
import pytest

from recipes.baselines.kneser_ney import LEAST, KneserNey

SIZE, ORDER, BORDER = 3, 3, 3
RNG = np.random.default_rng(1)
DOCUMENTS = [RNG.choice(SIZE, length, p=[0.6, 0.3, 0.1]) for length in (70, 1, 40, 3)]


def grams(n):
    """All n-grams that end in a token, one for each token."""
    for document in DOCUMENTS:
        padded = (*[BORDER] * (n - 1), *map(int, document))
        yield from (padded[end : end + n] for end in range(len(document)))


def oracle(context, token):
    """p(token | context) by equations of section 3 of Chen & Goodman, from the shortest on."""
    p = 1 / SIZE
    for n in range(1, ORDER + 1):
        if n == ORDER:
            counts = collections.Counter(grams(n))
        else:
            counts = collections.Counter(gram[1:] for gram in set(grams(n + 1)))
        equal = collections.Counter(counts.values())
        share = equal[1] / max(equal[1] + 2 * equal[2], 1)
        ratios = {k: (k + 1) * equal[k + 1] / equal[k] if equal[k] else 1 for k in (1, 2, 3)}
        discount = {k: min(max(k - share * ratio, LEAST), k) for k, ratio in ratios.items()}
        before = context[len(context) - (n - 1) :]
        seen = {gram: count for gram, count in counts.items() if gram[:-1] == before}
        total = sum(seen.values())
        if not total:
            continue
        own = seen.get((*before, token), 0)
        own -= discount[min(own, 3)] if own else 0
        left = sum(discount[min(count, 3)] for count in seen.values())
        p = own / total + left / total * p
    return p


def test_probabilities_are_those_of_the_paper():
    model = KneserNey(DOCUMENTS, SIZE, ORDER)
    text = np.array([0, 1, 2, 2, 2, 2, 0, 0, 1])
    padded = (*[BORDER] * (ORDER - 1), *map(int, text))
    expected = [
        oracle(padded[end : end + ORDER - 1], padded[end + ORDER - 1]) for end in range(len(text))
    ]
    np.testing.assert_allclose(np.exp(model.log_probabilities(text)), expected, rtol=1e-12)


def test_they_sum_to_one_after_any_context():
    model = KneserNey(DOCUMENTS, SIZE, ORDER)
    for context in itertools.product(range(SIZE), repeat=2):
        last = [model.log_probabilities(np.array([*context, w]))[-1] for w in range(SIZE)]
        assert np.exp(last).sum() == pytest.approx(1)


def test_it_knows_what_it_has_seen():
    text = np.tile([0, 1, 2, 2], 30)
    model = KneserNey([text], SIZE, ORDER)
    assert np.exp(model.log_probabilities(text)[4:]).min() > 0.9


def test_long_contexts_of_many_tokens_are_told_apart():
    """As the digits of one number of 64 bits, tokens 512 apart would be the same."""
    size = 2**11 - 1
    document = np.tile([[0] * 5 + [5, 1], [0] * 5 + [517, 2]], (30, 1)).ravel()
    model = KneserNey([document], size, order=7)
    assert np.exp(model.log_probabilities(document)[6::7]).min() > 0.9
