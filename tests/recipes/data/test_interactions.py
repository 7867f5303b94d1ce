"""Interactions: what is read, how it is ordered and split, and one clear line for what is wrong."""

import gzip
import json

import numpy as np
import pytest

from recipes.data import interactions
from recipes.kit.errors import UserError

# Two users with items in an order that only the time tells, and titles for some of the items.
ROWS = [
    ("ann", "20", 5),
    ("bob", "3", 1),
    ("ann", "3", 2),
    ("ann", "100", 9),
    ("bob", "20", 1),
    ("ann", "7", 9),
    ("bob", "100", 0),
]
ITEMS = [("3", "Third"), ("100", " A\tlong  title "), ("999", "Nobody took this")]


def write(path, rows, header):
    open_ = gzip.open if path.suffix == ".gz" else open
    with open_(path, "wt", encoding="utf-8") as file:
        if ".jsonl" in path.suffixes:
            file.writelines(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
        else:
            mark = "\t" if ".tsv" in path.suffixes else ","
            file.writelines(mark.join(map(str, row)) + "\n" for row in [header, *rows])


def fill(folder, rows=ROWS, items=ITEMS, suffix="csv"):
    write(folder / f"interactions.{suffix}", rows, ("user", "item", "time"))
    if items:
        write(folder / f"items.{suffix}", items, ("item", "title"))
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path)


def fails(source, **options):
    """Returns the one line that the user sees."""
    with pytest.raises(UserError) as caught:
        interactions.load(source, seed=0, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(data, history):
    return [data.items[item - 1] for item in history]


# --------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "csv.gz", "jsonl.gz"])
def test_formats_and_order(tmp_path, suffix):
    data = interactions.load(fill(tmp_path, suffix=suffix), seed=0)
    assert data.items == ["3", "7", "20", "100"]  # by number, not by alphabet
    assert data.titles == ["Third", "", "", "A long title"]
    # At one time the order of the file holds.
    assert names(data, data.histories[0]) == ["3", "20", "100", "7"]
    assert names(data, data.histories[1]) == ["100", "3", "20"]
    assert data.histories[0].dtype == np.int32


def test_tsv(tmp_path):
    rows = [("a", f"i{n}", n) for n in range(4)]
    data = interactions.load(fill(tmp_path, rows, [("i0", 'The "zero"')], suffix="tsv"), seed=0)
    assert data.titles[0] == 'The "zero"'


def test_titles_may_be_missing(tmp_path):
    data = interactions.load(fill(tmp_path, items=None), seed=0)
    assert data.titles == [""] * 4


def test_names_that_are_no_numbers_follow_the_numbers(tmp_path):
    rows = [("a", item, n) for n, item in enumerate(["B00X", "10", "9", "Ä 1", "x-1"])]
    data = interactions.load(fill(tmp_path, rows, items=None), seed=0)
    assert data.items == ["9", "10", "B00X", "x-1", "Ä 1"]
    assert names(data, data.histories[0]) == [row[1] for row in rows]


DATES = ["2024-03-01", "2024-03-01T01:00:00", "2024-03-01T01:30:00+01:00", "1999-12-31"]


@pytest.mark.parametrize(
    ("times", "order"), [(DATES, "dacb"), (["12", "1.5e9", "-3", "9"], "cdab")], ids=str
)
def test_times_are_numbers_or_dates(tmp_path, times, order):
    rows = [("a", item, time) for item, time in zip("abcd", times, strict=True)]
    data = interactions.load(fill(tmp_path, rows, items=None), seed=0)
    assert names(data, data.histories[0]) == list(order)


def test_other_column_names(tmp_path):
    write(tmp_path / "interactions.csv", ROWS, ("who", "what", "when"))
    write(tmp_path / "items.csv", ITEMS, ("what", "called"))
    columns = {"user_column": "who", "item_column": "what", "time_column": "when"}
    data = interactions.load(tmp_path, seed=0, title_column="called", **columns)
    assert data.titles[0] == "Third"
    assert "expected a column named 'user'. Found: 'who'" in fails(tmp_path)


# ------------------------------------------------------------------------ what is left out


def test_the_splits_are_the_ends_of_the_histories(folder):
    data = interactions.load(folder, seed=0)
    assert [names(data, history) for history in data.training] == [["3", "20"], ["100"]]
    histories, targets = data.validation
    assert [names(data, history) for history in histories] == [["3", "20"], ["100"]]
    assert names(data, targets) == ["100", "3"]
    histories, targets = data.test
    assert [names(data, history) for history in histories] == [["3", "20", "100"], ["100", "3"]]
    assert names(data, targets) == ["7", "20"]


def test_users_with_too_short_a_history_are_left_out_and_counted(folder):
    write(
        folder / "interactions.csv",
        [*ROWS, ("carl", "3", 1), ("carl", "55", 2), ("dora", "3", 1)],
        ("user", "item", "time"),
    )
    data = interactions.load(folder, seed=0)
    assert len(data.histories) == 2
    assert "55" not in data.items
    assert "2 users with fewer than 3 items were left out" in str(data)


def test_repeated_interactions_count_once(folder):
    write(
        folder / "interactions.csv", [*ROWS, ("ann", "3", 8), ("bob", "3", 1)],
        ("user", "item", "time"),
    )  # fmt: skip
    data = interactions.load(folder, seed=0)
    assert names(data, data.histories[0]) == ["3", "20", "100", "7"]
    assert "2 interactions of a user with an item taken before were left out" in str(data)


def test_only_short_histories(tmp_path):
    message = fails(fill(tmp_path, ROWS[1::3]))
    assert "Expected a user with 4 items or more" in message
    assert "The longest history has 2" in message


# ------------------------------------------------------------------------------ what is wrong


def test_missing_file(folder):
    (folder / "interactions.csv").rename(folder / "ratings.csv")
    message = fails(folder)
    assert "Expected a file interactions.csv, interactions.tsv or interactions.jsonl" in message
    assert "ratings.csv" in message


@pytest.mark.parametrize("time", ["yesterday", "nan", "1e999"])
def test_a_time_that_is_none(folder, time):
    write(folder / "interactions.csv", [*ROWS, ("ann", "5", time)], ("user", "item", "time"))
    message = fails(folder)
    assert (
        f"interactions.csv:9: expected a number as in the rows before in time. Received: '{time}'"
        in (message)
    )


@pytest.mark.parametrize(("first", "kind"), [("12", "number"), ("2020-02-03T04:05", "date")])
def test_times_are_numbers_or_dates_all_of_them(folder, first, kind):
    times = [first, first, "2021-05-06" if kind == "number" else "1588"]
    rows = [("ann", str(n), time) for n, time in enumerate(times)]
    write(folder / "interactions.csv", rows, ("user", "item", "time"))
    expected = f"interactions.csv:4: expected a {kind} as in the rows before in time. Received: '"
    assert expected + times[2] in fails(folder)


def test_a_time_that_is_none_in_the_first_row(folder):
    write(folder / "interactions.csv", [("ann", "5", "soon")], ("user", "item", "time"))
    expected = "interactions.csv:2: expected a number or a date in time. Received: 'soon'"
    assert expected in fails(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "interactions.csv: expected a row or more. The file is empty"),
        ("user,item\na,b\n", "interactions.csv:1: expected a column named 'time'"),
        ("user,item,time\na,b,1\na,b\n", "interactions.csv:3: expected 3 fields. Received: 2"),
        ("user,item,time\na,,1\n", "interactions.csv:2: expected a value in 'item'"),
        (b"user,item,time\na,caf\xe9,1\n", "interactions.csv:2: expected UTF-8 text"),
    ],
)
def test_bad_files(folder, content, message):
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "interactions.csv").write_bytes(content)
    assert message in fails(folder)


def test_items_without_titles(folder):
    write(folder / "items.csv", [("3", "x")], ("item", "name"))
    assert "items.csv:1: expected a column named 'title'" in fails(folder)


def test_columns_that_are_the_same(folder):
    message = fails(folder, time_column="item")
    assert message == (
        "Expected different columns of user, item and time, and of item and title. Received: "
        "--user-column user --item-column item --time-column item --title-column title"
    )


def test_titles_are_another_column_than_items(folder):
    assert "--item-column item --time-column time --title-column item" in fails(
        folder, title_column="item"
    )


def test_titles_of_other_items(folder):
    (folder / "items.csv").write_text("item,title\nA17,Stalker\n")
    message = fails(folder)
    assert "items.csv: expected items of interactions.csv, such as '" in message
    assert message.endswith("It has none of them, but such as 'A17'")


# ------------------------------------------------------------------------------------- toy


def test_toy_is_the_same_for_every_seed():
    data = interactions.load("toy", seed=0)
    assert data.fingerprint == interactions.load("toy", seed=1).fingerprint
    assert all(data.titles) and not data.notes


# ------------------------------------------------------------------------------------ TFDS


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A MovieLens of our own, stored as TensorFlow Datasets stores the real one."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")
    titles = dict(ITEMS) | {"7": "Seventh", "20": "Twentieth"}
    rows = [
        {
            "user_id": user,
            "movie_id": item,
            "movie_title": titles[item],
            "movie_genres": [],
            "timestamp": time,
            "user_rating": 3.0,
            "user_gender": True,
            "user_zip_code": "",
            "user_occupation_label": 1,
            "user_occupation_text": "",
            "bucketized_user_age": 25.0,
        }
        for user, item, time in ROWS
    ]
    for config in ("1m-ratings", "100k-movies"):
        features = tfds.builder(f"movielens/{config}", data_dir=folder).info.features
        examples = [(n, {key: row[key] for key in features}) for n, row in enumerate(rows)]
        tfds.dataset_builders.store_as_tfds_dataset(
            name="movielens",
            config=config,
            version="0.1.1",
            features=features,
            split_datasets={"train": examples},
            data_dir=folder,
            disable_shuffling=True,
        )
    return folder


def test_tfds(data_dir):
    data = interactions.load("tfds:movielens/1m-ratings", seed=0, data_dir=data_dir)
    assert data.items == ["3", "7", "20", "100"]
    assert data.titles == ["Third", "Seventh", "Twentieth", "A long title"]
    assert names(data, data.histories[0]) == ["3", "20", "100", "7"]


def test_tfds_without_users(data_dir):
    message = fails("tfds:movielens/100k-movies", data_dir=data_dir)
    assert "Expected a feature named 'user' or 'user_id' in movielens/100k-movies" in message
    assert "Found: movie_id, movie_title" in message


def test_tfds_unknown_configuration(tmp_path):
    assert "movielens has no configuration 2m" in fails("tfds:movielens/2m", data_dir=tmp_path)
