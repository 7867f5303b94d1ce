"""Questions about passages from files."""

import gzip
import json

import numpy as np
import pytest

from recipes.data import reading
from recipes.kit.errors import UserError
from tests.recipes.data.files import write

HEADER = ["title", "context", "question", "answer", "start"]
CONTEXT = "Ida built a boat, the boat of 1920."
ROW = ("Ida", CONTEXT, "what did she build ?", "boat", "12")
ROWS = [
    (f"Title {number // 2}", f"{CONTEXT} {number}", question, answer, start)
    for number in range(8)
    for question, answer, start in (("what ?", "boat", "12"), ("when ?", "1920", "30"))
]


def squad(*articles):
    """The text of a file in SQuAD's layout: pairs of a title and questions about `CONTEXT`."""
    return json.dumps(
        {
            "version": "1.1",
            "data": [
                {"title": title, "paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}
                for title, questions in articles
            ],
        }
    )


def asked(name, *answers):
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"{name} ?", "answers": given}


@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "jsonl", "jsonl.gz"])
def test_tables(tmp_path, ending):
    for name in ("train", "dev", "test"):
        write(tmp_path / f"{name}.{ending}", ROWS, HEADER)
    data = reading.load(tmp_path, seed=0)
    assert len(data.test) == 16 and data.test.answers[1] == (("1920", 30),)
    assert data.test.lines[:2] == ([2, 3] if ending[0] != "j" else [1, 2])
    assert "16 / 16 / 16 questions" in str(data) and "8 / 8 / 8 paragraphs" in str(data)
    assert "8 of the test paragraphs also occur in the training data" in str(data)


def test_several_right_answers_to_a_question(tmp_path):
    other = (*ROW[:3], "a boat", "10")
    for name in ("train", "test"):
        write(tmp_path / f"{name}.csv", [*ROWS, ROW, other], HEADER)
    test = reading.load(tmp_path, seed=0).test
    assert len(test) == 17
    assert test.answers[-1] == (("boat", 12), ("a boat", 10)) and test.right[-1] == [
        "boat", "a boat",
    ]  # fmt: skip


def test_no_title_and_no_paragraph_is_on_both_sides(tmp_path):
    write(tmp_path / "train.csv", ROWS, HEADER)
    write(tmp_path / "valid.csv", [ROW], HEADER)  # which is the test then
    data = reading.load(tmp_path, seed=0, validation_fraction=0.5)
    assert len(data.test) == 1 and "valid.csv is the test here" in str(data)
    assert len(data.train) == len(data.validation) == 8
    for column in ("titles", "contexts"):
        assert not {*getattr(data.train, column)} & {*getattr(data.validation, column)}
    untitled = [row[1:] for row in ROWS]
    write(tmp_path / "train.csv", untitled, HEADER[1:])
    data = reading.load(tmp_path, seed=0, validation_fraction=0.5)
    assert not {*data.train.contexts} & {*data.validation.contexts}
    # One paragraph under two titles goes with the first of them.
    same = [
        (title, CONTEXT if title in ("Title 0", "Title 1") else context, f"{question}{n}", *rest)
        for n, (title, context, question, *rest) in enumerate(ROWS)
    ]
    for seed in range(4):
        write(tmp_path / "train.csv", same, HEADER)
        data = reading.load(tmp_path, seed=seed, validation_fraction=0.5)
        assert not {*data.train.contexts} & {*data.validation.contexts}


def test_columns_of_other_names(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / f"{name}.csv", ROWS, ["t", "c", "q", "a", "s"])
    names = dict(zip(("title", "context", "question", "answer", "start"), "tcqas", strict=True))
    data = reading.load(tmp_path, seed=0, **{f"{key}_column": x for key, x in names.items()})
    assert data.test.titles[0] == "Title 0"
    with pytest.raises(UserError, match="Expected different columns"):
        reading.load(tmp_path, seed=0, context_column="question")


def test_squads_layout(tmp_path):
    first = ("Ida", [asked("q1", ("boat", 12), ("boat", 22)), asked("q2")])
    (tmp_path / "train.json").write_text(squad(first, ("Leo", [asked("q3", ("1920", 30))])))
    with gzip.open(tmp_path / "dev.json.gz", "wt") as file:
        file.write(squad(("Max", [asked("q4", ("Ida", 0))])))
    # The one paragraph of both titles stays on one side, so there is nothing to validate on.
    with pytest.raises(UserError, match="two different paragraphs or more"):
        reading.load(tmp_path, seed=0)
    (tmp_path / "train.json").write_text(
        squad(first, ("Leo", [asked("q3", ("1920", 30))])).replace(CONTEXT, CONTEXT + " ", 1)
    )
    data = reading.load(tmp_path, seed=0)
    assert data.test.answers == [(("Ida", 0),)] and data.test.titles == ["Max"]
    assert sorted([*data.train.questions, *data.validation.questions]) == ["q1 ?", "q3 ?"]
    assert "1 questions of train.json have no answer and were left out" in str(data)


@pytest.mark.parametrize(
    ("row", "pattern"),
    [
        (
            (*ROW[:4], "13"),
            r"train\.csv:18: expected the answer 'boat' at the character 13 .*'oat,'",
        ),
        ((*ROW[:4], "-1"), r"train\.csv:18: expected as the start .*'-1'"),
        ((*ROW[:4], "1.0"), r"train\.csv:18: expected as the start .*'1.0'"),
        ((*ROW[:4], "999"), r"train\.csv:18: expected the answer .* There stands: ''"),
        ((*ROW[:3], " ", "3"), r"train\.csv:18: expected an answer. Received an empty one"),
        (("", CONTEXT, "  ", "boat", "12"), r"train\.csv:18: expected a question and a context"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(tmp_path, row, pattern):
    write(tmp_path / "train.csv", [*ROWS, row], HEADER)
    write(tmp_path / "test.csv", ROWS, HEADER)
    with pytest.raises(UserError, match=pattern):
        reading.load(tmp_path, seed=0)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("{", r"train\.json:1: expected JSON"),
        ("[]", r"train\.json: expected SQuAD's layout.*'data'"),
        ('{"data": [{}]}', r"train\.json: data\[0\]: expected SQuAD's layout.*'paragraphs'"),
        (squad(("t", [asked("q7", ("boat", 11))])), r"the question 'q7': expected the answer"),
        (squad(("t", [asked("\ud800", ("boat", 12))])), "text that can be written in UTF-8"),
        (squad((3, [asked("q7", ("boat", 12))])), r"data\[0\]: expected a string as title"),
        (squad(("t", [asked("q7")])), r"train\.json: expected a question with an answer"),
    ],
)
def test_what_is_wrong_with_json_is_told(tmp_path, content, pattern):
    (tmp_path / "train.json").write_text(content)
    write(tmp_path / "test.csv", ROWS, HEADER)
    with pytest.raises(UserError, match=pattern):
        reading.load(tmp_path, seed=0)


def test_a_folder_without_a_test(tmp_path):
    write(tmp_path / "train.csv", ROWS, HEADER)
    with pytest.raises(UserError, match=r"Expected a file test\.csv, .* or test\.json"):
        reading.load(tmp_path, seed=0)


def test_a_set_of_tfds_with_squads_features(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    answers = {"text": tfds.features.Text(), "answer_start": tfds.features.Scalar(np.int32)}
    features = {name: tfds.features.Text() for name in ("title", "context", "question")}

    def rows(count, start):
        given = {"text": ["boat"], "answer_start": [start]}
        return [
            (key, {"title": f"T{key}", "context": f"{CONTEXT} {key}", "question": "what ?",
                   "answers": given if key else {"text": [], "answer_start": []}})
            for key in range(count)
        ]  # fmt: skip

    tfds.dataset_builders.store_as_tfds_dataset(
        name="small_squad",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {**features, "answers": tfds.features.Sequence(answers)}
        ),
        # Spaces before a context were trimmed when the set was made: the answer is found again.
        split_datasets={"train": rows(7, 12), "validation": rows(3, 14)},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    data = reading.load("tfds:small_squad", seed=0, data_dir=tmp_path)
    assert data.test.answers == [(("boat", 12),)] * 2
    assert len(data.train) + len(data.validation) == 6
    assert "1 questions of small_squad, split train have no answer" in str(data)
    with pytest.raises(UserError, match="Expected the features ask, context, answers"):
        reading.load("tfds:small_squad", seed=0, data_dir=tmp_path, question_column="ask")
