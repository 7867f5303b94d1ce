"""Sentences: the plain rule by example."""

import pytest

from recipes.text import sentences, wordpiece

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
