"""The generated questions."""

from recipes.data.toy import questions


def test_each_question_has_one_right_candidate_of_six():
    for part in questions.splits(train=30, validation=5, test=5):
        for start in range(0, len(part), 6):
            pairs = part[start : start + 6]
            assert len({pair.query for pair in pairs}) == 1
            assert len({pair.document for pair in pairs}) == 6
            assert sum(pair.label for pair in pairs) == 1


def test_the_matching_words_are_in_the_texts_and_in_no_other_of_the_right_kind():
    pairs = questions.generate(50)
    for start in range(0, len(pairs), 6):
        group = pairs[start : start + 6]
        (right,) = [pair for pair in group if pair.label]
        asked, told = right.matching
        assert asked in right.query.split() and told in right.document.split()
        # One other tells of the deed, with the wrong kind of answer.
        assert sum(told in pair.document.split() for pair in group) == 2


def test_splits_share_no_question_and_are_always_the_same():
    parts = questions.splits(train=30, validation=5, test=5)
    asked = [{pair.query for pair in part} for part in parts]
    assert not (asked[0] & asked[1] or asked[0] & asked[2] or asked[1] & asked[2])
    assert parts == questions.splits(train=30, validation=5, test=5)


def test_most_questions_share_no_word_with_what_decides():
    assert not set(questions.DEEDS) & set(questions.DEEDS.values())
