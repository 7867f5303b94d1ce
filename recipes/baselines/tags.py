"""Tags and intents without a network, to compare with: by counting, and by linear models."""

from collections import Counter

import numpy as np

from recipes.text.token_features import features

_AROUND = (-2, -1, 1, 2)


def most_frequent(train, sentences):
    """The most frequent tag of each word, `O` of an unknown one: a list of tags per sentence.

    Args:
        train: `recipes.data.tagged.Split`.
        sentences: List of lists of tokens.

    >>> from recipes.data.tagged import Split
    >>> most_frequent(Split(["to Rome"], ["O B-city"], [""]), [["Rome", "or", "Oslo"]])
    [['B-city', 'O', 'O']]
    """
    counts = {}
    for tokens, tags in zip(train.words, train.tag_lists, strict=True):
        for token, tag in zip(tokens, tags, strict=True):
            counts.setdefault(token.casefold(), Counter())[tag] += 1
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    return [[best.get(token.casefold(), "O") for token in tokens] for tokens in sentences]


def linear(train, sentences, *, seed=0):
    """Tags by a linear classifier of a token, the tokens around it, and the tag before it.

    A logistic regression over words, affixes and shapes, which sees the two tokens before and
    behind. It learns with the true tag before, and goes from left to right with the tag that it
    found: a maximum-entropy Markov model.

    Args:
        train, sentences: As for `most_frequent`.
        seed: Integer, of the order in which it learns.

    Reference:
        McCallum, Freitag & Pereira, 2000, https://dl.acm.org/doi/10.5555/645529.658277
    """
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    seen, labels = [], []
    for tokens, tags in zip(train.words, train.tag_lists, strict=True):
        for around, before in zip(_windows(tokens), ["", *tags], strict=False):
            seen.append([*around, f"before={before}"])
        labels += tags
    model = make_pipeline(
        FeatureHasher(2**16, input_type="string", alternate_sign=False),
        SGDClassifier(
            "log_loss", alpha=1e-6, max_iter=20, tol=None, average=True, random_state=seed
        ),
    )
    model.fit(seen, labels)
    windows = [_windows(tokens) for tokens in sentences]
    found = [[] for _ in sentences]
    for step in range(max(map(len, sentences))):  # the same step of all sentences at once
        rows = [row for row, tokens in enumerate(sentences) if step < len(tokens)]
        before = [found[row][-1] if step else "" for row in rows]
        tags = model.predict(
            [[*windows[row][step], f"before={tag}"] for row, tag in zip(rows, before, strict=True)]
        )
        for row, tag in zip(rows, tags, strict=True):
            found[row].append(str(tag))
    return found


def _windows(tokens):
    """For each token the features of it and of those around it."""
    of_each = [features(token) for token in tokens]
    windows = []
    for position, own in enumerate(of_each):
        around = list(own)
        for step in _AROUND:
            is_inside = 0 <= position + step < len(tokens)
            others = of_each[position + step] if is_inside else ("word=",)
            around += [f"{step}:{feature}" for feature in others]
        windows.append([*around, f"{around[0]} {around[len(own)]}"])
    return windows


def intents(train, sentences):
    """Intents by a linear support vector machine over tf-idf of words and pairs of words: an array.

    Args:
        train: `recipes.data.tagged.Split`.
        sentences: List of strings.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    model = make_pipeline(tfidf, LinearSVC(C=1.0, random_state=0))
    return model.fit(train.tokens, train.intents).predict(sentences)


def most_frequent_intent(train, sentences):
    """The most frequent intent for each of the sentences: an array."""
    return np.full(len(sentences), Counter(train.intents).most_common(1)[0][0])
