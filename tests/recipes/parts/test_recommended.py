"""Answers of a recommender that knows five books and likes the last ones best."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from recipes.kit.errors import UserError
from recipes.parts import recommended
from recipes.parts.catalogue import Catalogue

CATALOGUE = Catalogue(["a", "b", "c", "d", "e"], ["Ash", "Birch", "", "Date", "Elm"])
ROWS = "user,item,time\nkim,b,5\nlee,x,1\nkim,a,3\nlee,e,2\nkim,b,9\nmo,y,1\n"


@dataclasses.dataclass(frozen=True)
class Config:
    items: tuple = ()
    file: Path | None = None
    users: Path | None = None
    user_column: str = "user"
    item_column: str = "item"
    time_column: str = "time"
    format: str = "text"
    top: int = 2


def recommend(history):
    left = [item for item in range(5, 0, -1) if item not in history[0]]
    weights = np.arange(1.0, history.shape[1] + 1)
    return {
        "items": np.array([[*left, *history[0]]]),
        "scores": np.linspace(0.9, 0.1, 5)[None],
        "weights": (weights / weights.sum())[None],
    }


def answered(capsys, **options):
    recommended.answer(Config(**options), CATALOGUE, recommend)
    return capsys.readouterr()


def test_one_user_in_words(capsys):
    found = answered(capsys, items=("Birch", " a "))
    assert found.out == (
        "Past items that counted: Ash (67%), Birch (33%)\n 1. Elm  0.9000\n 2. Date  0.7000\n"
    )
    assert found.err == ""


def test_an_item_that_is_unknown_is_told_and_left_out(capsys):
    found = answered(capsys, items=("Oak", "e"))
    assert found.out.splitlines()[1:] == [" 1. Date  0.9000", " 2. c  0.7000"]
    assert found.err == ("Note: left out: Expected an item that the model knows. Received: 'Oak'\n")
    with pytest.raises(UserError, match="None of the items .* Received: 'Oak'"):
        answered(capsys, items=("Oak",))


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text(ROWS)
    return path


def test_each_user_of_a_file_is_answered_in_order(capsys, users):
    found = answered(capsys, users=users, format="jsonl")
    answers = [json.loads(line) for line in found.out.splitlines()]
    assert [answer["user"] for answer in answers] == ["kim", "lee", "mo"]
    assert [row["item"] for row in answers[0]["items"]] == ["e", "d"]  # not a, not b
    assert answers[1]["items"][0] == {"item": "d", "title": "Date", "score": 0.9}
    assert answers[2]["items"] == []
    assert found.err == "Note: 2 items that the model does not know, left out\n"


def test_a_table_of_all_users(capsys, users):
    lines = answered(capsys, users=users, format="tsv").out.splitlines()
    assert lines[0] == "user\trank\titem\ttitle\tscore"
    assert lines[1] == "kim\t1\te\tElm\t0.900000"
    assert [line.split("\t")[0] for line in lines[1:]] == ["kim", "kim", "lee", "lee"]


def test_words_for_all_users(capsys, users):
    lines = answered(capsys, users=users).out.splitlines()
    # By time kim took a, then b, and b again, which counts once.
    assert lines[:2] == ["kim:", "Past items that counted: Birch (67%), Ash (33%)"]
    assert lines[-1] == "mo: no item that the model knows"


def test_bad_requests(capsys, users):
    with pytest.raises(UserError, match="past items of one user, or --users. Received both"):
        answered(capsys, items=("a",), users=users)
    with pytest.raises(UserError, match=r"users.csv:1: expected a column named 'who'"):
        answered(capsys, users=users, user_column="who")
