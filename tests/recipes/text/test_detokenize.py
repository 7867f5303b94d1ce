"""Back from word pieces to text: in Python and in a graph, on the same texts."""

import numpy as np
import pytest

from recipes.kit.errors import UserError
from recipes.text import detokenize, wordpiece

TEXTS = [
    'He said: "Come on, now!" (twice).',
    "A well-known man's hat - red and blue - isn't here...",
    'She reads "Blue Moon" and "Red Sun".',
    "Is it 5 o'clock? No; half past.",
    "Zoë and Jürgen run, swim (and dive).",
]


def pieces(texts):
    vocabulary = wordpiece.learn_vocabulary(texts, 400, cased=True, special=["[START]", "[END]"])
    return vocabulary, wordpiece.tokenize(wordpiece.fast_tokenizer(vocabulary, cased=True), texts)


def test_what_is_regular_comes_back_as_it_was():
    regular = [TEXTS[0], TEXTS[2], TEXTS[3], TEXTS[4], "A well-known man's hat isn't here."]
    vocabulary, ids = pieces(regular)
    spacing = detokenize.Spacing.learn(regular)
    for text, row in zip(regular, ids, strict=True):
        assert spacing.to_text([vocabulary[number] for number in row]) == text


def test_each_language_has_its_own_customs():
    english = detokenize.Spacing.learn(["What? No!", "Who? Me!"])
    french = detokenize.Spacing.learn(["Quoi ? Non !", "Qui ? Moi !"])
    assert english.to_text(["Why", "?", "So", "!"]) == "Why? So!"
    assert french.to_text(["Quoi", "?", "Si", "!"]) == "Quoi ? Si !"


def test_a_mark_that_was_never_seen_stands_free():
    spacing = detokenize.Spacing.learn(["nothing here"])
    assert spacing.to_text(["a", ",", "b"]) == "a , b"
    assert spacing.to_text([]) == ""


def test_the_graph_does_the_same_for_many_rows_at_once():
    vocabulary, ids = pieces(TEXTS)
    spacing = detokenize.Spacing.learn(TEXTS)
    rng = np.random.default_rng(0)
    # Also of pieces in any order, as a bad model writes them; 40 rows, some without a piece.
    rows = [*ids, *(rng.integers(4, len(vocabulary), size=n) for n in rng.integers(0, 30, 35))]
    padded = np.array([np.pad(row, (0, 40 - len(row))) for row in rows], "int32")
    joiner = detokenize.TextJoiner(vocabulary, spacing, 40)
    found = [text.decode() for text in joiner(padded).numpy()]
    assert found == [spacing.to_text([vocabulary[number] for number in row]) for row in rows]


def test_spacing_survives_a_file():
    spacing = detokenize.Spacing.learn(TEXTS)
    assert detokenize.Spacing.loads(spacing.dumps()) == spacing
    with pytest.raises(UserError, match="a mark, a tab and four digits"):
        detokenize.Spacing.loads("no tab here\n")
