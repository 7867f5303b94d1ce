"""Queries with candidates from files."""

import gzip

import numpy as np
import pytest

from recipes.data import candidates
from recipes.kit.errors import UserError

ROWS = [
    ("who ?", "Anna .", "1"),
    ("when ?", "In May .", "0"),
    ("who ?", "A boat .", "0"),
    ("when ?", "In June .", "0"),
]


def write(folder, rows=ROWS, header="question,answer,label", name="train.csv"):
    lines = [header, *(",".join(row) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    many = [(f"{query}{number}", *rest) for number in range(8) for query, *rest in ROWS]
    write(tmp_path, many)
    write(tmp_path, name="test.csv")
    return tmp_path


def test_rows_of_a_query_stand_together_with_their_positions(folder):
    test = candidates.load(folder, seed=0).test
    assert test.queries == ["who ?", "who ?", "when ?", "when ?"]
    assert test.documents == ["Anna .", "A boat .", "In May .", "In June ."]
    assert test.positions.tolist() == [0, 1, 0, 1]
    assert [rows.tolist() for rows in test.groups()] == [[0, 1], [2, 3]]


def test_queries_without_a_right_candidate_stay_but_are_not_answerable(folder):
    data = candidates.load(folder, seed=0)
    assert len(data.test) == 4
    assert set(data.test.answerable().queries) == {"who ?"}
    assert "queries with a right candidate: 7 of 14 / 1 of 2 / 1 of 2" in str(data)
    all_right = candidates.Split(["a", "a"], ["x", "y"], *np.ones((2, 2), "int32"))
    assert len(all_right.answerable()) == 2
    assert len(all_right.answerable(with_wrong=True)) == 0


def test_a_query_is_never_cut_in_two(folder):
    data = candidates.load(folder, seed=0)
    assert not set(data.train.queries) & set(data.validation.queries)
    assert all(len(rows) == 2 for split in data.splits.values() for rows in split.groups())
    limited = candidates.load(folder, seed=0, limit=4).train
    assert len(limited.groups()) <= 4 and all(len(rows) == 2 for rows in limited.groups())


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("query,document,label", {}),
        ("q,text,ok", {"query_column": "q", "document_column": "text", "label_column": "ok"}),
        ("question,document,label", {"document_column": "document"}),
    ],
)
def test_columns_of_other_names(tmp_path, header, options):
    for name in ("train.csv", "dev.csv", "test.csv"):
        write(tmp_path, header=header, name=name)
    data = candidates.load(tmp_path, seed=0, **options)
    assert data.test.labels.tolist() == [1, 0, 0, 0]


def test_labels_that_are_words(tmp_path):
    for name in ("train.csv", "dev.csv", "test.csv"):
        write(
            tmp_path, [(*pair, "yes" if label == "1" else "no") for *pair, label in ROWS], name=name
        )
    assert candidates.load(tmp_path, seed=0, right_label="yes").test.labels.sum() == 1
    with pytest.raises(UserError, match=r"train\.csv:2: expected as a label 0 .*Received: 'yes'"):
        candidates.load(tmp_path, seed=0)


def test_tables_in_other_formats(tmp_path):
    for name in ("train.tsv.gz", "dev.tsv.gz", "test.tsv.gz"):
        lines = ["question\tanswer\tlabel", *("\t".join(row) for row in ROWS)]
        with gzip.open(tmp_path / name, "wt") as file:
            file.write("\n".join(lines))
    assert candidates.load(tmp_path, seed=0).test.labels.sum() == 1


@pytest.mark.parametrize(
    ("rows", "pattern"),
    [
        ([("who ?", " ", "1"), *ROWS], r"train\.csv:2: expected a query and a candidate"),
        ([("who ?", "Anna", "-1"), *ROWS], r"train\.csv:2: expected as a label 0 .*'-1'"),
        (ROWS[1:], r"train\.csv: expected a query with a right and a wrong candidate.*2 queries"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, rows, pattern):
    write(tmp_path, rows)
    write(tmp_path, name="test.csv")
    with pytest.raises(UserError, match=pattern):
        candidates.load(tmp_path, seed=0)


def test_one_column_cannot_be_two():
    with pytest.raises(UserError, match="Expected different columns"):
        candidates.CandidateReader(seed=0, query_column="text", document_column="text")


def test_a_table_without_labels(tmp_path):
    write(tmp_path, [row[:2] for row in ROWS], header="question,answer", name="pairs.csv")
    split = candidates.pairs_of(tmp_path / "pairs.csv")
    assert split.queries == ["who ?", "who ?", "when ?", "when ?"]
    assert split.lines == [2, 4, 3, 5]
    lines, documents = candidates.documents_of(tmp_path / "pairs.csv")
    assert lines[0] == 2 and documents[0] == "Anna ."


def test_one_query_without_a_right_candidate_is_not_validated_on(tmp_path):
    rows = [(f"who {number} ?", *rest) for number in range(8) for _, *rest in ROWS[:3:2]]
    write(tmp_path, [*rows, ROWS[1]])
    write(tmp_path, rows, name="test.csv")
    data = candidates.load(tmp_path, seed=0)
    assert "when ?" in data.train.queries
    assert len(data.validation.answerable(with_wrong=True).groups()) == 1


def test_a_set_of_tfds_whose_test_labels_are_kept_back(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    features = {name: tfds.features.Text() for name in ("question", "sentence")}
    features["label"] = tfds.features.ClassLabel(names=["entailment", "not_entailment"])

    def rows(count, labels):
        pairs = [(f"q{number} ?", label) for number in range(count) for label in labels]
        return [
            (key, {"question": question, "sentence": f"a {key}", "label": label})
            for key, (question, label) in enumerate(pairs)
        ]

    tfds.dataset_builders.store_as_tfds_dataset(
        name="pairs",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            "train": rows(6, [0, 1]), "validation": rows(3, [1, 0]), "test": rows(2, [-1]),
        },
        data_dir=tmp_path,
        disable_shuffling=True,
    )  # fmt: skip
    names = {"document_column": "sentence", "right_label": "entailment"}
    data = candidates.load("tfds:pairs", seed=0, data_dir=tmp_path, **names)
    assert len(data.test) == 6 and data.test.labels.tolist() == [0, 1] * 3
    assert "the official validation split is the test here" in str(data)
