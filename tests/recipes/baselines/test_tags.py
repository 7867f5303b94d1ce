"""Taggers without a network."""

from recipes.baselines import tags
from recipes.data.tagged import Split

CITIES = "Rome Oslo Bern Lyon Turin Ghent".split()
PAIRS = [(a, b) for a in CITIES for b in CITIES if a != b]
TRAIN = Split(
    [f"fly from {a} to {b}" for a, b in PAIRS] + [f"drive to {a} from {b}" for a, b in PAIRS[:20]],
    ["O O B-from O B-to"] * 30 + ["O O B-to O B-from"] * 20,
    ["fly"] * 30 + ["drive"] * 20,
)


def test_the_most_frequent_tag_of_a_word():
    train = Split(["to Bern", "to Bern", "from Bern"], ["O B-to", "O B-to", "O B-from"], [""] * 3)
    assert tags.most_frequent(train, [["bern", "Paris", "to"], ["Bern"]]) == [
        ["B-to", "O", "O"], ["B-to"],
    ]  # fmt: skip


def test_the_most_frequent_intent():
    assert tags.most_frequent_intent(TRAIN, ["drive", "drive"]).tolist() == ["fly", "fly"]


def test_the_linear_model_reads_what_stands_before():
    sentences = ["fly from Paris to Lund".split(), ["drive"], "drive to Oslo".split()]
    found = tags.linear(TRAIN, sentences)
    assert found == [["O", "O", "B-from", "O", "B-to"], ["O"], ["O", "O", "B-to"]]


def test_intents_by_words():
    assert tags.intents(TRAIN, ["drive to Oslo", "fly to Bern"]).tolist() == ["drive", "fly"]
