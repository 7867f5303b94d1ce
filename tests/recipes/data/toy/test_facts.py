"""Passages of facts: what is known about them."""

from collections import Counter

from recipes.data.toy import facts
from recipes.data.toy.questions import DEEDS


def test_the_answer_stands_in_the_sentence_that_is_asked_for():
    for row in facts.generate(60):
        sentences = row.context.split(" . ")
        (answer, start), asked = row.answers[0], row.question.split()
        assert row.context[start : start + len(answer)] == answer
        before = row.context[:start].count(" . ")
        assert before == row.sentence
        deed, told = row.matching
        assert DEEDS[deed] == told and deed in asked and told not in asked
        assert sentences[row.sentence].startswith(f"{asked[2]} {told} ")


def test_neither_person_nor_deed_alone_tells_the_sentence():
    ambiguous = 0
    for row in facts.generate(60):
        words = [sentence.split()[:2] for sentence in row.context.split(" . ")]
        people, deeds = Counter(person for person, _ in words), Counter(deed for _, deed in words)
        assert len({tuple(pair) for pair in words}) == len(words) == 5
        person, deed = words[row.sentence]
        assert people[person] == deeds[deed]
        ambiguous += people[person] == 2
    assert ambiguous > 40


def test_splits_share_no_passage():
    contexts = [{row.context for row in part} for part in facts.splits(30, 6, 9)]
    assert [len(part) for part in contexts] == [10, 2, 3]
    assert len(set.union(*contexts)) == 15
