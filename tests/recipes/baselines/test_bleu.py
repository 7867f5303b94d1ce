"""BLEU of captions."""

import pytest

from recipes.baselines import bleu


def test_bleu_is_that_of_sacrebleu_and_takes_images_with_fewer_captions():
    references = [["a dog runs", "the dog runs fast"], ["a cat"]]
    scores = bleu.by_order(["a dog runs", "a cat"], references)
    assert scores["BLEU-1"] == scores["BLEU-2"] == pytest.approx(100)
    assert bleu.by_order(["a dog sits", "a cat"], references)["BLEU-1"] == pytest.approx(80)
