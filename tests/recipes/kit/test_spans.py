"""Spans and their F1, beside the package `seqeval`."""

import random

import pytest

from recipes.kit import spans

LETTERS = "OBIOBIES"
KINDS = ("city", "day", "a-b", "")


def random_tags(rng, count):
    """Tags in any order, such as an `I-` after another type."""
    tags = []
    for _ in range(count):
        letter, kind = rng.choice(LETTERS), rng.choice(KINDS)
        tags.append(letter if letter == "O" or not kind else f"{letter}-{kind}")
    return tags


def test_spans_and_scores_are_those_of_seqeval():
    metrics = pytest.importorskip("seqeval.metrics")
    from seqeval.metrics.sequence_labeling import get_entities

    rng = random.Random(0)
    for _ in range(300):
        true = [random_tags(rng, rng.randint(1, 9)) for _ in range(3)]
        found = [  # alike in most tokens: else no span would be right
            [tag if rng.random() < 0.8 else random_tags(rng, 1)[0] for tag in tags] for tags in true
        ]
        for tags in true + found:
            expected = [
                ("" if kind == "_" else kind, a, b + 1) for kind, a, b in get_entities(tags)
            ]
            assert spans.spans_of(tags) == expected, tags
        figures = spans.measure(true, found)
        for name in ("f1", "precision", "recall"):
            expected = getattr(metrics, f"{name}_score")(true, found, zero_division=0)
            assert figures[f"slot_{name}"] == pytest.approx(expected), (true, found)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-city I-city O", [("city", 0, 2)]),
        ("B-city B-city", [("city", 0, 1), ("city", 1, 2)]),
        ("O I-city I-city", [("city", 1, 3)]),  # an I- after nothing begins a span
        ("B-city I-day", [("city", 0, 1), ("day", 1, 2)]),  # and so does one after another type
        ("I-city B-city", [("city", 0, 1), ("city", 1, 2)]),
        ("B-day I-day E-day S-day", [("day", 0, 3), ("day", 3, 4)]),
        ("O O", []),
    ],
)
def test_which_tags_begin_and_end_a_span(tags, expected):
    assert spans.spans_of(tags.split()) == expected


def test_tags_that_a_scheme_does_not_allow_are_counted():
    assert spans.stray_tags("I-city O B-day I-day I-city".split()) == 2
    assert spans.stray_tags("B-city I-city O".split()) == 0


def test_scores_of_a_span_that_is_found_in_part():
    true, found = [["B-city", "I-city", "O"], ["B-day"]], [["B-city", "O", "O"], ["B-day"]]
    half = {"slot_f1": 0.5, "slot_precision": 0.5, "slot_recall": 0.5}
    assert spans.measure(true, found) == half
    assert spans.by_type(true, found)["city"] == {
        "spans": 1, "precision": 0.0, "recall": 0.0, "f1": 0.0,
    }  # fmt: skip
    assert spans.measure([["O"]], [["O"]])["slot_f1"] == 0
    with pytest.raises(ValueError, match="Received: 1 tags for 2 tokens"):
        spans.measure([["O", "O"]], [["O"]])


@pytest.mark.parametrize("tag", ["O", "B", "B-x", "I-fromloc.city_name", "S-x", "E-x"])
def test_tags_of_a_scheme(tag):
    assert spans.is_tag(tag)


@pytest.mark.parametrize("tag", ["", "X-city", "city", "B-", "OO", "b-city"])
def test_no_tags(tag):
    assert not spans.is_tag(tag)
