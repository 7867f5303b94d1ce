"""N-grams with modified Kneser-Ney smoothing: the language model without a network.

    model = KneserNey(documents, vocabulary_size, order=6)
    model.log_probabilities(document)          # natural logarithms, one for each token

where documents are integer arrays. Counted and looked up by sorting whole arrays: a million tokens
take seconds.
"""

import itertools

import numpy as np

# The least discount: without one, what was never seen would be impossible.
LEAST = 0.1


class KneserNey:
    """Interpolated n-grams:

        p(w | u) = max(c(u w) - D(c(u w)), 0) / c(u) + g(u) p(w | u')

    where u are the n - 1 tokens before w, u' is u without its first, and g(u) is the mass that the
    discounts D leave. c counts how often, for the longest n-grams; for shorter ones, how many
    different tokens stand before them. D has a value of its own for a count of 1, of 2, and of 3 or
    more. The shortest are interpolated with the uniform distribution.

    A document begins after so many borders as the longest n-gram looks back.

    Args:
        documents: List of integer arrays, of ids from 0 to V - 1.
        vocabulary_size: Integer V; the number V itself stands for the border.
        order: Integer, tokens of the longest n-gram.

    Reference:
        Chen & Goodman, 1999, section 3, https://doi.org/10.1006/csla.1999.0128
    """

    def __init__(self, documents, vocabulary_size, order):
        self.size, self.order = vocabulary_size, order
        # An n-gram is a number: that of the n-gram without its first token, and the first token.
        # So the numbers of all n-grams that end in the same tokens lie together.
        self._keys, counts, shorter = [], [], np.zeros(sum(map(len, documents)), "int64")
        for tokens in self._columns(documents):
            keys, shorter, times = np.unique(
                shorter * (self.size + 1) + tokens, return_inverse=True, return_counts=True
            )
            self._keys.append(keys)
            counts.append(times)
        self._levels, self._context_keys = [], []
        for n in range(order):
            if n + 1 < order:  # of how many longer n-grams it is the end
                ends = self._keys[n + 1] // (self.size + 1)
                counts[n] = np.bincount(ends, minlength=len(counts[n]))
            self._levels.append(_Level(counts[n], self._contexts_of(n)))

    def log_probabilities(self, document):
        """The natural logarithm of the probability of each token of a document."""
        p = np.full(len(document), 1.0 / self.size)
        gram, contexts = np.zeros(len(document), "int64"), self._contexts(document)
        for keys, level, tokens, context in zip(
            self._keys, self._levels, self._columns([document]), contexts, strict=True
        ):
            gram = np.where(gram < 0, -1, _find(keys, gram * (self.size + 1) + tokens))
            p = level.interpolated(p, gram, context)
        return np.log(p)

    def _columns(self, documents):
        """For each n from 1 on the token n - 1 before each token: n-grams grow at their start."""
        for n in range(self.order):
            border = np.full(n, self.size)
            yield np.concatenate(
                [np.concatenate([border, document])[: len(document)] for document in documents]
            ).astype("int64")

    def _contexts(self, document):
        """The number of the n tokens before each token for each n, -1 where they are unknown."""
        number = np.zeros(len(document), "int64")
        yield number
        for keys, tokens in zip(
            self._context_keys, itertools.islice(self._columns([document]), 1, None), strict=True
        ):
            number = np.where(number < 0, -1, _find(keys, number * (self.size + 1) + tokens))
            yield number

    def _contexts_of(self, n):
        """For each (n + 1)-gram the number of the n tokens before its last one.

        As that of an n-gram it is made of the number of the nearest n - 1 of them, and the first.
        (All n tokens as the digits of one number would be more than 64 bits can hold.)
        """
        number, place = np.zeros(len(self._keys[n]), "int64"), np.arange(len(self._keys[n]))
        tokens = []
        for level in range(n, 0, -1):
            key = self._keys[level][place]
            tokens.append(key % (self.size + 1))
            place = key // (self.size + 1)
        for level, token in enumerate(reversed(tokens)):  # the nearest first
            number = number * (self.size + 1) + token
            if level == len(self._context_keys):
                self._context_keys.append(np.unique(number))
            number = _find(self._context_keys[level], number)
        return number


class _Level:
    """The n-grams of one length: what each has after its discount, and what its context leaves.

    Args:
        counts: Integer array, one for each n-gram.
        contexts: Integer array, the context of each n-gram.
    """

    def __init__(self, counts, contexts):
        equal = np.bincount(np.minimum(counts, 5), minlength=6)  # how many have a count of k
        share = equal[1] / max(equal[1] + 2 * equal[2], 1)
        discounts = np.zeros(4)
        for k in (1, 2, 3):
            ratio = (k + 1) * equal[k + 1] / equal[k] if equal[k] else 1.0
            discounts[k] = np.clip(k - share * ratio, LEAST, k)
        discount = discounts[np.minimum(counts, 3)]
        self._contexts, place = np.unique(contexts, return_inverse=True)
        total = np.bincount(place, counts)
        self._left = np.bincount(place, discount) / total
        self._own = (counts - discount) / total[place]

    def interpolated(self, p, gram, context):
        """The probabilities by n-grams, from those by shorter ones; -1 for an unknown n-gram."""
        place = _find(self._contexts, context)
        own = np.where(gram < 0, 0.0, self._own[gram])
        return np.where(place < 0, p, own + self._left[place] * p)


def _find(keys, wanted):
    """The place of each number in sorted ones, -1 where it is not there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
