"""Sentences: the plain rule by example, and the layer by the rule."""

import keras
import numpy as np
import pytest

from recipes.text import sentences, wordpiece
from tests.backend import to_numpy

VOCABULARY = (
    f"[PAD] [UNK] . ! ? {sentences.PARAGRAPH} , ( ) a e g u s b 3 14 20th ##3 the cat sat on dogs "
    "ran yes of mat ##s"
).split()
INDEX = {piece: number for number, piece in enumerate(VOCABULARY)}
KINDS = sentences.kinds_of(VOCABULARY)


def split(text, max_words=99):
    found = sentences.split(
        wordpiece.encode(INDEX, sentences.mark_paragraphs(text)), KINDS, max_words
    )
    return [" ".join(VOCABULARY[number] for number in sentence) for sentence in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("The cat", ["the cat"]),
        ("The cat. Yes! The mat? Dogs", ["the cat .", "yes !", "the mat ?", "dogs"]),
        ("The cat?! Yes... The mat", ["the cat ? !", "yes . . .", "the mat"]),
        ("3.14 of the cat. The 20th. 3 dogs", ["3 . 14 of the cat .", "the 20th . 3 dogs"]),
        ("Dogs, e.g. the cat of u.s. dogs", ["dogs , e . g . the cat of u . s . dogs"]),
        ("Yes! 3 dogs", ["yes !", "3 dogs"]),
        ("The mat\nsat. On", ["the mat sat .", "on"]),
        ("The mat\n\nDogs ran.\n \t\nYes", [f"the mat {'¶'}", f"dogs ran . {'¶'}", "yes"]),
        (". . Yes", [". .", "yes"]),
    ],
)
def test_rule(text, expected):
    assert split(text) == expected


def test_long_sentences_are_cut():
    assert split("The cat sat on the mat. Yes", max_words=4) == [
        "the cat sat on",
        "the mat .",
        "yes",
    ]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("a\n\nb", "a\n¶b"),
        ("a\r\n\r\nb", "a\r\n\r¶b"),
        ("a\n\n\nb\nc", "a\n¶\nb\nc"),
        ("a\n   \nb", "a\n   ¶b"),
        ("\n\n", "\n¶"),
        ("a\nb", "a\nb"),
    ],
)
def test_paragraphs_are_marked_in_place(text, marked):
    assert sentences.mark_paragraphs(text) == marked
    assert len(marked) == len(text)


def _layer(max_words):
    layer = sentences.SplitSentences(len(VOCABULARY), max_words)
    layer.build((None, None))
    layer.kinds.assign(KINDS)
    return layer


@pytest.mark.parametrize("max_words", [4, 5, 11, 60])
def test_layer_agrees_with_the_rule(max_words):
    rng = np.random.default_rng(max_words)
    # Mostly marks, letters and numbers, in texts of all lengths.
    texts = [
        rng.choice(np.arange(1, 20), size=size).astype("int32")
        for size in [0, 1, 2, 3, *rng.integers(4, 60, size=60)]
    ]
    ids = np.zeros((len(texts), 61), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    found = to_numpy(_layer(max_words)(ids))
    expected = sentences.grid(
        [sentences.split(text, KINDS, max_words) for text in texts], max_words
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[:, :, max_words:], 0)  # the gap
    for grid, text in zip(found, texts, strict=True):
        np.testing.assert_array_equal(grid[grid > 0], text)


def test_a_batch_without_any_text_is_one_row_of_padding():
    assert to_numpy(_layer(4)(np.zeros((2, 3), "int32"))).tolist() == [[[0] * 6]] * 2


def test_symbolic_shape():
    grid = _layer(7)(keras.Input((None,), dtype="int32"))
    assert grid.shape == (None, None, 9) and grid.dtype == "int32"
