"""The toy commands: intents and slots follow from the planted words, and from nothing else."""

import collections

import pytest

from recipes.data.toy import commands
from recipes.kit import spans

INTENTS = {verb: intent for intent, verbs in commands.VERBS.items() for verb in verbs}


@pytest.fixture(scope="module")
def rows():
    return [row for split in commands.splits() for row in split]


def test_sizes_and_no_overlap(rows):
    assert [len(split) for split in commands.splits()] == [1500, 200, 400]
    assert len({row.tokens for row in rows}) == len(rows)


def test_the_verb_alone_decides_the_intent(rows):
    for row in rows:
        verbs = [index for index, token in enumerate(row.tokens.split()) if token in INTENTS]
        assert verbs == [row.deciding]
        assert INTENTS[row.tokens.split()[row.deciding]] == row.intent
    assert len({row.deciding for row in rows}) > 5  # its position does not tell


def test_slots_follow_from_the_words_before_and_the_day_from_the_first(rows):
    for row in rows:
        tokens, tags = row.tokens.split(), row.tags.split()
        assert len(tokens) == len(tags) and not spans.stray_tags(tags)
        kind = {"Leaving": "B-departure_day", "Arriving": "B-arrival_day"}[tokens[0]]
        assert tags[row.day] == kind and row.day > 5
        for kind, start, end in spans.spans_of(tags):
            before = tokens[start - 1]
            assert {
                "departure_city": before == "from",
                "arrival_city": before == "to",
                "person": before in ("for", "of", "to"),
            }.get(kind, before == "on")
            assert end - start == 1 or kind == "person"


def test_many_names_are_new_in_the_test():
    train, _, test = commands.splits()
    words = {token for row in train for token in row.tokens.split()}
    named = [
        token
        for row in test
        for token, tag in zip(row.tokens.split(), row.tags.split(), strict=True)
        if tag.endswith(("person", "city"))
    ]
    assert 0.2 < sum(name not in words for name in named) / len(named) < 0.8
    counts = collections.Counter(row.intent for row in test)
    assert min(counts.values()) > 0.15 * len(test)
