"""Documents with summaries: what is read, how references are found, one line for what is wrong."""

import functools
import json

import pytest

from recipes.baselines import extracts
from recipes.data import summaries
from recipes.data.toy import reports
from recipes.kit.errors import UserError
from tests.recipes.data import files

ROWS = [(f"A long text {n}. It goes on.", f"Text {n}.") for n in range(8)]

write = functools.partial(files.write, header=("document", "summary"))
load = functools.partial(summaries.load, seed=0)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train.csv", ROWS)
    write(tmp_path / "test.csv", ROWS[:2])
    return tmp_path


@pytest.mark.parametrize("name", ["train.tsv", "train.jsonl", "train.csv.gz", "train.jsonl.gz"])
def test_all_forms_of_tables_are_read(folder, name):
    (folder / "train.csv").rename(folder / "train.old")
    write(folder / name, ROWS)
    data = load(folder)
    assert sorted([*data.train.documents, *data.validation.documents]) == [row[0] for row in ROWS]
    assert data.test.summaries == [("Text 0.",), ("Text 1.",)]
    assert "validation documents were cut from the training documents" in str(data)


@pytest.mark.parametrize(
    ("header", "options"),
    [
        (("dialogue", "summary"), {}),
        (("dialogue", "summaries"), {}),
        (("article", "highlights"), {}),
        (("text", "short"), {"document_column": "text", "summary_column": "short"}),
    ],
)
def test_columns_are_found_or_named(tmp_path, header, options):
    for name in ("train.csv", "test.csv"):
        files.write(tmp_path / name, ROWS, header=header)
    assert load(tmp_path, **options).test.summaries[0] == ("Text 0.",)


def test_a_document_has_several_references(folder):
    rows = [
        {"dialogue": "A: Hi.", "summaries": ["A greets.", "A says hi.", "A greets.", " "]},
        {"dialogue": "B: No.", "summaries": "B refuses."},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "test.csv").unlink()
    (folder / "test.jsonl").write_text(lines)
    data = load(folder)
    assert data.test.summaries == [("A greets.", "A says hi."), ("B refuses.",)]
    assert data.test.pairs() == ([0, 0, 1], ["A greets.", "A says hi.", "B refuses."])
    assert "1 or 2 references of each test document" in str(data)
    files.write(folder / "test.csv", [("A: Hi.", "One.", "Two.")], header=("document", "a", "b"))
    (folder / "test.jsonl").unlink()
    files.write(folder / "train.csv", [(*row, "Else.") for row in ROWS], ("document", "a", "b"))
    assert load(folder, summary_column="a,b").test.summaries == [("One.", "Two.")]


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (("", "Short."), r"test\.csv:3: expected a document. Received an empty one, as 1 of 2"),
        (("A text.", " "), r"test\.csv:3: expected a summary. Received an empty one, as 1 of 2"),
    ],
)
def test_rows_with_nothing_on_one_side(folder, row, match):
    write(folder / "test.csv", [ROWS[0], row])
    with pytest.raises(UserError, match=match):
        load(folder)
    write(folder / "test.csv", [ROWS[0]] * 100 + [row])
    data = load(folder)
    assert len(data.test) == 100
    assert "1 rows of" in str(data)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "expected a string or a list of strings as summary"),
        ([1], "expected a string as summary"),
        (3, "expected a string or a list of strings as summary"),
    ],
)
def test_what_is_no_text_is_named_with_its_line(folder, value, match):
    (folder / "test.csv").unlink()
    (folder / "test.jsonl").write_text(json.dumps({"document": "A.", "summary": value}) + "\n")
    with pytest.raises(UserError, match=rf"test\.jsonl:1: {match}"):
        load(folder)


def test_one_column_cannot_be_both(folder):
    with pytest.raises(UserError, match="different columns of documents and summaries"):
        load(folder, summary_column="document")


def test_in_a_toy_report_the_marked_sentence_is_the_summary_and_its_names_stand_once():
    for report in reports.generate(50, seed=2):
        words = report.document.replace(".", " .").split()
        names = [words[position] for position in report.copied]
        assert words[report.copied[0] - 1] == reports.MARK
        assert [report.summary.split()[0], report.summary.split()[2].strip(".")] == names
        assert all(words.count(name) == 1 for name in names)
        assert len(extracts.sentences(report.document)) == reports.SENTENCES
