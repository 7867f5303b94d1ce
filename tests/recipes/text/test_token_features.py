"""Tokens, their features and ids."""

import pytest

from recipes.text import token_features


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to boston", ["to", "boston"]),
        ("To Boston, please!", ["To", "Boston", ",", "please", "!"]),
        ("St. Louis.", ["St.", "Louis", "."]),  # a known word keeps its mark
        ("(st.)", ["(", "st.", ")"]),
        ("at 7:30 o'clock?!", ["at", "7:30", "o'clock", "?", "!"]),
        ("...", [".", ".", "."]),
        ("  \u00a0 ", []),
        ("", []),
    ],
)
def test_raw_text_is_cut_at_spaces_and_marks(text, expected):
    found, spans = token_features.split(text, {"st."})
    assert found == expected
    assert [text[start:end] for start, end in spans] == expected
    ends = [0, *(place for span in spans for place in span)]
    assert ends == sorted(ends)


def test_an_unknown_word_still_has_affixes_and_a_shape():
    vocabulary = token_features.learn([["from", "Newton"], ["to", "Boston"], ["to", "Ashton"]])
    assert vocabulary[:5] == ["[PAD]", "word=[UNK]", "prefix=[UNK]", "suffix=[UNK]", "shape=[UNK]"]
    index = token_features.index_of(vocabulary)
    known, unknown = token_features.encode(index, ["Boston", "Weston"])
    assert known[0] == index["word=boston"] and unknown[0] == 1
    assert known[2] == unknown[2] == index["suffix=ton"]
    assert known[3] == unknown[3] == index["shape=Xx"]
    assert known[1] == unknown[1] == 2  # a prefix that only one word has is none
    assert token_features.encode(index, []).shape == (0, 4)
    assert token_features.known_words(vocabulary) >= {"boston", "newton", "to"}


def test_features_of_a_token():
    assert token_features.features("747") == ("word=000", "prefix=000", "suffix=000", "shape=0")
    assert token_features.features("McDonald's")[3] == "shape=XxXx'x"
    assert token_features.features("ÉTÉ")[0] == "word=été"
