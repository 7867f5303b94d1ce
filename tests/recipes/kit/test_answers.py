"""Exact match and F1 of answers, against examples computed by hand."""

import pytest

from recipes.kit import answers


@pytest.mark.parametrize(
    ("true", "found", "exact", "f1"),
    [
        ("Denver Broncos", "denver broncos", 1, 1),
        ("the Denver Broncos", "Denver Broncos!", 1, 1),  # an article and a mark do not count
        ("Denver Broncos", "The Broncos", 0, 2 / 3),  # 1 of 1 found, 1 of 2 right
        ("in the year 1066", "1066", 0, 2 / 4),  # 1 of 1, 1 of 3
        ("tic tac tac", "tac tac tac", 0, 4 / 6),  # each word as often as both have it
        ("Theatre", "the atre", 0, 0),  # an article is a whole word
        ("Paris", "", 0, 0),
    ],
)
def test_words_as_squad_compares_them(true, found, exact, f1):
    assert answers.exact_match(true, found, "words") == exact
    assert answers.f1(true, found, "words") == pytest.approx(f1)


@pytest.mark.parametrize(
    ("true", "found", "exact", "f1"),
    [
        ("「こころ」", "こころ", 1, 1),
        ("1989年 2月", "1989年2月", 1, 1),
        ("兵庫県宝塚市", "宝塚市", 0, 6 / 9),  # 3 of 3 found, 3 of 6 right
        ("ＡＢ", "ab", 1, 1),  # noqa: RUF001  (wide letters)
        ("2月", "月2", 0, 1),  # the same characters in another order
    ],
)
def test_characters(true, found, exact, f1):
    assert answers.exact_match(true, found, "characters") == exact
    assert answers.f1(true, found, "characters") == pytest.approx(f1)


def test_characters_as_jaquad_compares_them():
    """Marks count, and an answer is exact if F1 is 1."""
    assert answers.exact_match("「こころ」", "こころ", "jaquad") == 0
    assert answers.f1("「こころ」", "こころ", "jaquad") == pytest.approx(6 / 8)
    assert answers.exact_match("2月", "月 2", "jaquad") == 1


def test_the_best_of_several_right_answers_counts():
    true = [["Saint Bernadette", "Bernadette Soubirous"], ["1858"]]
    found = answers.measure(true, ["Bernadette Soubirous", "in 1858"], "words")
    assert found == {"exact_match": 0.5, "f1": pytest.approx((1 + 2 / 3) / 2)}
