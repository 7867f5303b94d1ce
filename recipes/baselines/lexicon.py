"""Translation without a network, to compare with: word for word, and from memory."""

import re

import numpy as np


def words(text):
    """Words and marks of a text.

    >>> words("Don't stop, Zoë!")
    ['Don', "'", 't', 'stop', ',', 'Zoë', '!']
    """
    return re.findall(r"\w+|[^\w\s]", text)


class Lexicon:
    """The most probable translation of each word, learned from pairs of sentences (IBM model 1).

        t(e | f) = sum of c(e, f) / sum over e,    c(e, f) = t(e | f) / sum over f' t(e | f')

    where e is a word of a translation and f, f' are words of its sentence, or none at all.

    Args:
        sources, targets: Lists of sentences and their translations.
        iterations: Integer, how often probabilities are counted anew.

    >>> lexicon = Lexicon(["das Haus", "das Buch", "ein Buch"], ["the house", "the book", "a book"])
    >>> lexicon.translate("ein Haus")
    ['a', 'house']

    Reference:
        Brown et al., 1993, section 4.1, https://aclanthology.org/J93-2003
    """

    def __init__(self, sources, targets, iterations=8):
        source_index, target_index = {"": 0}, {}
        of_source, of_target, group = [], [], []
        groups = 0
        for source, target in zip(sources, targets, strict=True):
            known = [0, *(_number(source_index, word) for word in words(source))]
            for word in words(target):
                of_source += known
                of_target += [_number(target_index, word)] * len(known)
                group += [groups] * len(known)
                groups += 1
        of_source, of_target, group = (np.array(x, "int64") for x in (of_source, of_target, group))
        size = max(1, len(target_index))
        pairs, place = np.unique(of_source * size + of_target, return_inverse=True)
        source_of_pair = pairs // size
        probability = np.ones(len(pairs))
        for _ in range(iterations):
            shares = probability[place]
            shares /= np.bincount(group, shares)[group]
            counts = np.bincount(place, shares)
            probability = counts / np.bincount(source_of_pair, counts)[source_of_pair]
        # The last one written stays: the most probable of each word.
        order = np.argsort(probability, kind="stable")
        source_words, target_words = list(source_index), list(target_index)
        self._best = {source_words[pairs[i] // size]: target_words[pairs[i] % size] for i in order}

    def translate(self, text):
        """For each word of a text its translation, in the order of the text; unknown ones stay."""
        return [self._best.get(word, word) for word in words(text)]


class Memory:
    """The translation of the most alike sentence that it has seen: tf-idf of words, cosine.

    >>> memory = Memory(["ein Haus", "das rote Buch"], ["a house", "the red book"])
    >>> memory.translate(["das blaue Buch"])
    ['the red book']
    """

    def __init__(self, sources, targets):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self._seen = self._vectorizer.fit_transform(sources)
        self._targets = targets

    def translate(self, texts):
        """Translations of a list of texts."""
        alike = self._vectorizer.transform(texts) @ self._seen.T
        return [self._targets[index] for index in np.asarray(alike.argmax(axis=1)).ravel()]


def _number(index, word):
    return index.setdefault(word, len(index))
