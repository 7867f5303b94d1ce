"""Error rates: those of a plain edit distance."""

import numpy as np
import pytest

from recipes.text import error_rates


def distance(true, found):
    """Levenshtein's distance."""
    row = list(range(len(found) + 1))
    for i, a in enumerate(true, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(found, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_rates_are_edits_over_all_texts_together():
    rng = np.random.default_rng(0)
    texts, found = (
        [" ".join(rng.choice(["one", "two", "six"], rng.integers(1, 6))) for _ in range(30)]
        for _ in range(2)
    )
    found[3] = ""  # nothing was heard
    scores = error_rates.measure(texts, found)
    for name, cut in {"word": str.split, "character": list}.items():
        edits = sum(distance(cut(a), cut(b)) for a, b in zip(texts, found, strict=True))
        assert scores[f"{name}_error_rate"] == pytest.approx(
            edits / sum(len(cut(a)) for a in texts)
        )
    counts = error_rates.counts(texts, found)
    edits = sum(counts[name] for name in ("substitutions", "deletions", "insertions"))
    assert edits / counts["words"] == pytest.approx(scores["word_error_rate"])


def test_more_errors_than_words():
    assert error_rates.measure(["one"], ["two two two"])["word_error_rate"] == 3.0
    assert error_rates.measure(["one"], ["one"])["sentence_error_rate"] == 0.0
