"""Summaries without learning: the first sentences of a document, and its most central ones."""

import re

import numpy as np

from recipes.baselines import rouge

# After a mark that ends a sentence, where no letter clings; turns of a dialogue have lines.
_END = re.compile(r"(?<=[.!?])\s+|\n+")


def sentences(document):
    """The turns of a dialogue, which stand on a line each, or else the sentences of a text.

    >>> sentences("A: Hi. Sit down.\\nB: Thanks!"), sentences("One is. Two was? 3.5 are.")
    (['A: Hi. Sit down.', 'B: Thanks!'], ['One is.', 'Two was?', '3.5 are.'])
    """
    lines = [line.strip() for line in document.split("\n") if line.strip()]
    if len(lines) > 1:
        return lines
    return [part.strip() for part in _END.split(document) if part.strip()]


def lead(document, count=3):
    """The first sentences.

    >>> lead("One is. Two was. Three are. Four were.", 2)
    'One is. Two was.'
    """
    return " ".join(sentences(document)[:count])


def textrank(document, count=3, damping=0.85):
    """The most central sentences, in their order (Mihalcea & Tarau, 2004).

    Sentences are alike by the cosine of their tf-idf, within the document, and PageRank tells which
    are central.

    >>> textrank("Rain fell. The red boat sank. A boat was red. It sank: the boat.", 2)
    'The red boat sank. It sank: the boat.'
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    parts = sentences(document)
    if len(parts) <= count:
        return " ".join(parts)
    try:
        vectors = TfidfVectorizer().fit_transform(parts)
    except ValueError:  # no sentence has a word
        return " ".join(parts[:count])
    alike = (vectors @ vectors.T).toarray()
    np.fill_diagonal(alike, 0.0)
    sums = alike.sum(axis=1, keepdims=True)
    moves = np.where(sums > 0, alike / np.maximum(sums, 1e-12), 1 / len(parts))
    rank = np.full(len(parts), 1 / len(parts))
    for _ in range(100):
        rank = (1 - damping) / len(parts) + damping * rank @ moves
    best = sorted(np.argsort(-rank, kind="stable")[:count])
    return " ".join(parts[row] for row in best)


def baselines(data):
    """ROUGE of the first three sentences of a document, or turns, and of its most central ones.

    Args:
        data: `recipes.data.summaries.Summaries`.

    Returns:
        Dict from a name to figures as of `rouge.corpus`.
    """
    ways = {"lead-3": lead, "TextRank": textrank}
    return {
        name: rouge.corpus([way(text) for text in data.test.documents], data.test.summaries)
        for name, way in ways.items()
    }
