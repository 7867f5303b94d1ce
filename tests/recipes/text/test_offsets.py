"""Tokens and where they stand in a text."""

import pytest

from recipes.kit.errors import UserError
from recipes.text import offsets

TEXTS = ["Köln hat 1,08 Mio. Einwohner.", "In Köln wohnen 1,08 Mio. Menschen."] * 3


@pytest.mark.parametrize("kind", offsets.KINDS)
def test_spans_give_back_the_text(kind, tmp_path):
    tokens = offsets.learn(kind, TEXTS, 200)
    ids, spans = tokens.encode(TEXTS[0])
    assert spans.shape == (len(ids), 2) and ids.dtype == "int32"
    shown = "".join(TEXTS[0][start:end] for start, end in spans)
    assert shown.replace(" ", "") == TEXTS[0].replace(" ", "")
    (tmp_path / offsets.FILE).write_text("\n".join(tokens.names) + "\n", encoding="utf-8")
    assert offsets.load(tmp_path, kind).encode(TEXTS[1])[0].tolist() == (
        tokens.encode(TEXTS[1])[0].tolist()
    )
    assert [len(x) for x in tokens.encode("")] == [0, 0]


def test_each_character_stays_at_its_position():
    tokens = offsets.learn("characters", ["ab\u2028c ½ " * 2], None)
    ids, spans = tokens.encode("A\nC½x")
    assert spans.tolist() == [[n, n + 1] for n in range(5)]
    assert [tokens.names[number] for number in ids] == ["a", " ", "c", "½", "[UNK]"]


def test_a_broken_vocabulary_is_told(tmp_path):
    (tmp_path / offsets.FILE).write_bytes(b"\xff")
    with pytest.raises(UserError, match="Cannot load .*vocabulary.txt"):
        offsets.load(tmp_path, "characters")


def test_scripts_without_spaces():
    assert not offsets.is_spaced(["東京は日本の首都である。NHK"])
    assert not offsets.is_spaced(["กรุงเทพมหานคร"])
    assert offsets.is_spaced(["Seoul 서울은 대한민국의 수도이다", ""])
