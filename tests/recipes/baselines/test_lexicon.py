"""Translation without a network."""

import pytest

from recipes.baselines import lexicon
from recipes.data.toy import translation as toy_translation


def test_the_lexicon_finds_every_word_of_the_toy_language():
    train, _, _ = toy_translation.splits()
    found = lexicon.Lexicon([p.source.lower() for p in train], [p.target.lower() for p in train])
    for word, english in toy_translation.LEXICON.items():
        assert found.translate(word) == [english]


def test_unknown_words_stay_and_order_is_kept():
    found = lexicon.Lexicon(["rot Haus", "rot", "Haus"], ["red house", "red", "house"])
    assert found.translate("Haus Zoë rot") == ["house", "Zoë", "red"]


def test_ibm_model_1_by_hand():
    """One iteration from equal probabilities, counted on paper, decides for the word seen more."""
    found = lexicon.Lexicon(["a b", "a"], ["x y", "x"], iterations=1)
    assert found.translate("a") == ["x"]


def test_memory_gives_the_translation_of_the_nearest():
    pytest.importorskip("sklearn")
    memory = lexicon.Memory(["a red house", "a blue boat"], ["1", "2"])
    assert memory.translate(["the boat", "red red", "nothing"]) == ["2", "1", "1"]
