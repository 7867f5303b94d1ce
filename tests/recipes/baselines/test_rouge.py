"""ROUGE against a count by hand."""

import pytest

from recipes.baselines import rouge


def test_figures_are_means_over_references_and_documents_and_the_best_beside():
    summaries = ["the cats sat down", "nothing"]
    references = [("a cat sat", "the cat sat down"), ("something else",)]
    found = rouge.corpus(summaries, references)
    # With the stemmer "cats" is "cat": 2 of 4 and of 3 words, and 4 of 4 and 4.
    first = 2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)
    assert found["ROUGE-1"] == pytest.approx(100 * (first + 1) / 2 / 2)
    assert found["ROUGE-1, best reference"] == pytest.approx(100 * 1 / 2)
    # Pairs of words: 1 of 3 and of 2, and 3 of 3.
    pairs = 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)
    assert found["ROUGE-2"] == pytest.approx(100 * (pairs + 1) / 2 / 2)
    assert list(found)[:3] == ["ROUGE-1", "ROUGE-2", "ROUGE-L"]


def test_order_counts_in_rouge_l_alone():
    found = rouge.corpus(["c b a"], [("a b c",)])
    assert found["ROUGE-1"] == 100 and found["ROUGE-L"] == pytest.approx(100 / 3)


def test_the_signature_has_the_version():
    from importlib.metadata import version

    assert version("rouge-score") in rouge.signature()
