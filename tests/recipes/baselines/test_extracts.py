"""Summaries without learning."""

import numpy as np
import pytest

from recipes.baselines import extracts

DOCUMENT = (
    "The weather is fine. The river rose over the old bridge. The bridge over the river is closed. "
    "Boris likes soup. The old bridge and the river are watched."
)


def test_the_central_sentences_share_words_and_keep_their_order():
    parts = extracts.sentences(DOCUMENT)
    assert extracts.textrank(DOCUMENT, 3) == " ".join([parts[1], parts[2], parts[4]])


def test_textrank_is_the_leading_eigenvector():
    """PageRank by its definition: the stationary distribution of the damped walk."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    parts = extracts.sentences(DOCUMENT)
    vectors = TfidfVectorizer().fit_transform(parts).toarray()
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, 0)
    walk = np.array([row / row.sum() if row.sum() else np.full(5, 0.2) for row in alike])
    values, left = np.linalg.eig((0.15 / 5 + 0.85 * walk).T)
    rank = np.abs(left[:, np.argmax(values.real)].real)
    best = sorted(np.argsort(-rank)[:2])
    assert extracts.textrank(DOCUMENT, 2) == " ".join(parts[row] for row in best)


@pytest.mark.parametrize("function", [extracts.lead, extracts.textrank])
def test_short_documents_are_taken_whole(function):
    assert function("") == ""
    assert function("One. Two.") == "One. Two."
    assert function("A: ? ? ?\n? ?\n!\n?", 2).count("\n") == 0  # no words at all
