"""Tokens of language models: texts come back as they were."""

import pytest

from recipes.kit.errors import UserError
from recipes.text import tokens

TEXTS = ["To be,\n\n  or not to be?\n" * 5, "Ja — ø!\t"]


@pytest.mark.parametrize("kind", tokens.KINDS)
def test_a_text_comes_back_as_it_was(kind, tmp_path):
    known = tokens.learn(kind, TEXTS, 300)
    (tmp_path / tokens.FILE).write_text(known.dumps() + "\n", encoding="utf-8")
    assert "\n" not in known.dumps()
    loaded = tokens.load(tmp_path)
    for text in TEXTS:
        ids = known.encode(text)
        assert ids.dtype == "int32" and ids.min() > tokens.BORDER
        assert known.decode(ids) == loaded.decode(loaded.encode(text)) == text
    assert len(loaded) == len(known)
    assert known.decode([tokens.PAD, tokens.BORDER]) == ""
    assert known.dumps() == tokens.learn(kind, TEXTS, 300).dumps()


def test_pieces_are_fewer_than_characters_and_know_each_byte():
    known = tokens.learn("pieces", TEXTS, 300)
    assert len(known.encode(TEXTS[0])) <= len(TEXTS[0]) / 2
    assert known.decode(known.encode("日本 ✓")) == "日本 ✓"


@pytest.mark.parametrize("content", ["", "{}", "[", '{"model": 3}'])
def test_a_broken_file_is_named(content, tmp_path):
    (tmp_path / tokens.FILE).write_text(content)
    with pytest.raises(UserError, match=r"Cannot load .*tokens\.json"):
        tokens.load(tmp_path)
