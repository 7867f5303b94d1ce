"""Answers without a network."""

import pytest

from recipes.baselines import reading as simple
from recipes.data import reading

JAPANESE = "手塚治虫は1928年に生まれた。宝塚市の出身で、医師免許を取得した。"


def split(*rows):
    contexts, questions, answers = zip(*rows, strict=True)
    pairs = [
        ((answer, context.index(answer)),)
        for context, answer in zip(contexts, answers, strict=True)
    ]
    return reading.Split(list(questions), list(contexts), pairs, [""] * len(rows))


def test_candidates_are_what_stands_together():
    passage = simple._Passage("Ida built 1,200 boats. Leo-Paul slept.", True)
    found = [passage.context[a:b] for a, b in passage.candidates]
    assert found[:4] == ["Ida", "Ida built", "Ida built 1,200", "Ida built 1,200 boats"]
    assert "boats. Leo" not in " ".join(found) and "Leo-Paul slept" in found
    passage = simple._Passage(JAPANESE, False)
    found = [passage.context[a:b] for a, b in passage.candidates]
    assert {"手塚治虫", "1928年", "宝塚市", "医師免許"} <= set(found)
    assert "手塚治虫は" not in found


def test_a_window_lies_where_the_words_of_the_question_are():
    context = "Ida slept in a garden. Later Leo painted the old tower yellow. Max ate cake."
    rows = split((context, "which tower was painted by Leo ?", "yellow"))
    assert simple.sliding_window(rows, True) == ["the old"]  # beside two of the words
    rows = split((JAPANESE, "宝塚市の出身は", "医師免許"), ("", "who ?", ""))
    first, empty = simple.sliding_window(rows, False)
    assert first in JAPANESE and empty == ""


def test_a_regression_learns_what_kind_of_answer_is_asked_for():
    data = reading.load("toy", seed=0, limit=150)
    found = simple.baselines(data, "words", seed=0)
    window, regression = found["sliding window"], found["candidates, logistic regression"]
    assert window["exact_match"] < 0.15 < 0.2 < regression["exact_match"] < 0.85
    assert regression["f1"] >= regression["exact_match"]


@pytest.mark.parametrize("context", ["...", "Ida"])
def test_without_a_right_candidate_nothing_is_learned(context):
    train = split(("... a", "what ?", "..."))
    assert simple.regression(train, split((context, "what ?", context)), True) == [""]
