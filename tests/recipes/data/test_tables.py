"""Tables in files; what is wrong with a line is tested with the texts that are read from them."""

import pytest

from recipes.data import tables
from recipes.kit.errors import UserError

ROWS = "user,item,time\n1, 10 ,5\n2,20,6\n"


def test_columns_come_in_the_order_asked_for_with_their_lines(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text(ROWS)
    rows = tables.read(path, {"time": "value", "item": "value"})
    assert list(rows) == [(2, "5", "10"), (3, "6", "20")]


def test_text_is_kept_as_it_is_and_may_be_empty(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text(ROWS + "3,,7\n")
    assert [item for _, item in tables.read(path, {"item": "text"})] == [" 10 ", "20", ""]


def test_a_value_is_not_empty(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text(ROWS + "3, ,7\n")
    with pytest.raises(
        UserError, match=r"interactions.csv:4: expected a value in 'item'. Received an empty"
    ):
        list(tables.read(path, {"item": "value"}))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "item,time,item\n1,2,3\n"), ("a.jsonl", '{"item": "1", "time": 2, "item": "3"}\n')],
)
def test_a_column_that_is_there_twice(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"{name}:1: expected one column named 'item'. Found: "):
        list(tables.read(tmp_path / name, {"item": "value"}))
    assert len(list(tables.read(tmp_path / name, {"time": "value"}))) == 1


def test_numbers_in_json_are_values_but_no_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"item": 3, "time": 1.5}\n')
    assert list(tables.read(path, {"item": "value", "time": "value"})) == [(1, "3", "1.5")]
    with pytest.raises(UserError, match=r"a.jsonl:1: expected a string as item. Received: 3"):
        list(tables.read(path, {"item": "text"}))


def test_splits(tmp_path):
    for name in ("train.csv", "val.tsv.gz", "test2016.csv", "notes.txt"):
        (tmp_path / name).touch()
    found = tables.find_splits(tmp_path)
    assert {part: path.name for part, path in found.items()} == {
        "train": "train.csv",
        "validation": "val.tsv.gz",
        "test": "test2016.csv",
    }
    (tmp_path / "test2017.csv").touch()
    with pytest.raises(UserError, match="Received: test2016.csv and test2017.csv"):
        tables.find_splits(tmp_path)
    (tmp_path / "test.csv").touch()
    assert tables.find_splits(tmp_path)["test"].name == "test.csv"
