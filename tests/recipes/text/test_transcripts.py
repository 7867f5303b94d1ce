"""Texts of speech as ids: every training text comes back."""

import pytest

from recipes.text import transcripts
from recipes.text.transcripts import END, PAD, UNKNOWN

TEXTS = ["nine five nine", "o", "five o"]


@pytest.mark.parametrize("kind", transcripts.SEPARATORS)
def test_training_texts_come_back(kind):
    known = transcripts.learn(kind, TEXTS)
    for text in TEXTS:
        ids = [*known.encode(text), END, PAD, PAD]
        assert known.decode(ids) == text
        assert known.separator.join(known.tokens(ids)) == text
    again = transcripts.Transcripts(known.names, known.separator)
    assert again.encode(TEXTS[0]).tolist() == known.encode(TEXTS[0]).tolist()


def test_what_the_training_does_not_have_is_unknown():
    words, letters = (transcripts.learn(kind, TEXTS) for kind in ("words", "characters"))
    assert words.encode("nine six").tolist()[1] == UNKNOWN
    assert letters.encode("fix").tolist().count(UNKNOWN) == 1
    assert len(words) == 4 + 3 and len(letters) == 4 + len(set("nine five o"))
