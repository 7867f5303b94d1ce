"""Who took which item when: from files, from TensorFlow Datasets, or generated, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)            # interactions.csv and perhaps items.csv in it
    data = load("tfds:movielens/1m-ratings", seed=0)
    data.training, data.items, data.titles

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import array
import dataclasses
import datetime
import functools
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np

from recipes.data import tables, tfds
from recipes.data.toy import interactions as toy_interactions
from recipes.kit.errors import UserError

_TOY = "toy"
MIN_LENGTH = 3  # one item to start from, one to validate on, one to test on


@dataclasses.dataclass(frozen=True)
class Interactions:
    """The items that each user took, in order, split by time.

    The last item of each user is for the test, the last but one for validation, and the others
    are to learn from.

    Attributes:
        histories: List of int32 arrays, one a user: the items in the order of time, none twice.
            Items are numbered from 1; 0 is left for padding.
        items: List of strings, the names of the items: item n is `items[n - 1]`.
        titles: List of strings in the same order; empty where a title is not known.
        name: String, as the user gave it, e.g. `"tfds:movielens/1m-ratings"`.
        description: String, where the data come from, in a sentence or two.
        licence: String, what is known about the terms of use.
        notes: List of strings, what a reader of a score should know about the data.
    """

    histories: list[np.ndarray]
    items: list[str]
    titles: list[str]
    name: str
    description: str
    licence: str
    notes: list[str]

    @property
    def training(self):
        """Histories without their last two items."""
        return [history[:-2] for history in self.histories]

    @property
    def validation(self):
        """Histories up to the last item but one, and an array with that item for each."""
        return self.training, np.array([history[-2] for history in self.histories])

    @property
    def test(self):
        """Histories up to the last item, and an array with that item for each."""
        return [history[:-1] for history in self.histories], np.array(
            [history[-1] for history in self.histories]
        )

    @functools.cached_property
    def fingerprint(self):
        """String that changes with any item, order or title."""
        digest = hashlib.sha256(json.dumps([self.items, self.titles]).encode())
        for history in self.histories:
            digest.update(history.tobytes() + b"\0")
        return digest.hexdigest()

    def __str__(self):
        count = sum(map(len, self.histories))
        lines = [
            f"{self.name}: {count:,} interactions of {len(self.histories):,} users with "
            f"{len(self.items):,} items; a user's last item is the test, the one before validation"
        ]
        return "\n".join(lines + [f"  Note: {note}" for note in self.notes])


@dataclasses.dataclass
class _Rows:
    """Interactions as they were read, a column each, and titles by item."""

    users: array.array = dataclasses.field(default_factory=lambda: array.array("l"))
    items: array.array = dataclasses.field(default_factory=lambda: array.array("l"))
    times: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    user_numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    item_numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    titles: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, user, item, time):
        self.users.append(self.user_numbers.setdefault(user, len(self.user_numbers)))
        self.items.append(self.item_numbers.setdefault(item, len(self.item_numbers)))
        self.times.append(time)


def load(
    source,
    *,
    seed,
    limit=None,
    user_column="user",
    item_column="item",
    time_column="time",
    title_column="title",
    data_dir=None,
):
    """Returns the `Interactions` of a source.

    Names of users and items may be any text. Of the interactions of a user with one item the first
    counts. Users with fewer than 3 items are left out, and a note tells how many.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets such as
            `movielens/1m-ratings`; or the path of a folder with `interactions.*` and perhaps
            `items.*`, each csv, tsv or jsonl, plain or `.gz`, in UTF-8, with named columns.
        seed: Integer, decides which users are kept by `limit`.
        limit: Integer or None, at most so many users, for a quick look.
        user_column, item_column: Strings, the columns of their names.
        time_column: String, the column of the time: a number or a date and time in ISO 8601. Rows
            of the same time are in the order of the file.
        title_column: String, the column of `items.*` with the items' titles; that of their names
            is `item_column`.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> len(data.histories), data.items[0], data.titles[0]
    (100, '1', 'The Amber Orchard 1')
    """
    columns = {"user": user_column, "item": item_column, "time": time_column, "title": title_column}
    if str(source) == _TOY:
        rows, about = _read_toy()
    elif str(source).startswith(tfds.PREFIX):
        rows, about = _read_tfds(str(source).removeprefix(tfds.PREFIX), columns, data_dir)
    else:
        rows, about = _read_folder(Path(source).expanduser(), columns)
    return _assemble(rows, str(source), about, seed, limit)


def _assemble(rows, name, about, seed, limit):
    """Sorts by user and time, leaves out what cannot be used, and numbers the items."""
    users, items, times = (np.array(column) for column in (rows.users, rows.items, rows.times))
    order = np.lexsort((times, users))  # rows of one user and time stay in their order
    users, items = users[order], items[order]
    notes = []

    pairs = users.astype(np.int64) * len(rows.item_numbers) + items
    first = np.sort(np.unique(pairs, return_index=True)[1])
    if len(first) < len(pairs):
        notes.append(
            _left_out(len(pairs) - len(first), "interaction", "of a user with an item taken before")
        )
    users, items = users[first], items[first]

    lengths = np.bincount(users, minlength=len(rows.user_numbers))
    kept = np.flatnonzero(lengths >= MIN_LENGTH)
    if lengths.max() <= MIN_LENGTH:
        raise UserError(
            f"Expected a user with {MIN_LENGTH + 1} items or more in {name}: two to learn from, "
            f"one to validate on and one to test on. The longest history has {lengths.max()}"
        )
    if len(kept) < len(lengths):
        notes.append(
            _left_out(len(lengths) - len(kept), "user", f"with fewer than {MIN_LENGTH} items")
        )
    if limit is not None and len(kept) > limit:
        kept = np.sort(np.random.default_rng(seed).choice(kept, limit, replace=False))
        notes.append(f"only {limit:,} users were used")

    ends = np.cumsum(lengths)
    histories = [items[ends[user] - lengths[user] : ends[user]] for user in kept]
    names = list(rows.item_numbers)
    used = np.unique(np.concatenate(histories))
    if len(used) < 2:
        raise UserError(f"Expected two items or more in {name}. Received only: {names[used[0]]}")
    ordered = sorted(used, key=lambda item: _item_order(names[item]))
    numbers = np.zeros(len(names), np.int32)
    numbers[ordered] = np.arange(1, len(ordered) + 1)
    ordered_names = [names[item] for item in ordered]
    return Interactions(
        histories=[numbers[history] for history in histories],
        items=ordered_names,
        titles=[rows.titles.get(item, "") for item in ordered_names],
        name=name,
        notes=notes,
        **about,
    )


def _item_order(name):
    """Numbers by size, then other names by alphabet."""
    is_number = bool(re.fullmatch(r"\d{1,18}", name))
    return (not is_number, int(name) if is_number else 0, name)


def _left_out(number, noun, which):
    was = f"{noun} {which} was" if number == 1 else f"{noun}s {which} were"
    return f"{number:,} {was} left out"


# ------------------------------------------------------------------------------------ toy


def _read_toy():
    rows = _Rows(titles=toy_interactions.TITLES)
    for user, item, time in toy_interactions.interactions():
        rows.add(user, item, time)
    about = {
        "description": toy_interactions.DESCRIPTION,
        "licence": "Apache-2.0, as this project.",
    }
    return rows, about


# ------------------------------------------------------------------------------------ files


def _read_folder(folder, columns):
    tables.check_folder(folder, wanted="interactions.csv")
    path = tables.find_file(folder, ("interactions",))
    if path is None:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise UserError(
            "Expected a file interactions.csv, interactions.tsv or interactions.jsonl (or .gz of "
            f"it) in {folder}. Found: {there}"
        )
    rows = _Rows()
    wanted = {columns[name]: "value" for name in ("user", "item", "time")}
    if len(wanted) < 3:
        raise UserError(f"Expected three different columns. Received: {', '.join(columns)}")
    for line, user, item, time in tables.read(path, wanted):
        rows.add(user, item, _time(time, f"{path}:{line}", columns["time"]))
    path = tables.find_file(folder, ("items",))
    if path is not None:
        wanted = {columns["item"]: "value", columns["title"]: "text"}
        for _, item, title in tables.read(path, wanted):
            rows.titles.setdefault(item, " ".join(title.split()))
    about = {
        "description": f"Interactions from the files in {folder.name}.",
        "licence": "As given by those who made the files.",
    }
    return rows, about


def _time(value, where, column):
    """Seconds, or whatever the numbers count."""
    try:
        time = float(value)
    except ValueError:
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            time = math.nan
        else:
            time = moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()
    if not math.isfinite(time):
        raise UserError(
            f"{where}: expected a number or a date as {column}. Received: {tables.short(value)}"
        )
    return time


# ------------------------------------------------------------------------------------ TFDS

# How data sets call what we need.
_FEATURES = {
    "user": ("user_id",),
    "item": ("item_id", "movie_id"),
    "time": ("timestamp",),
    "title": ("item_title", "movie_title"),
}


def _read_tfds(name, columns, data_dir):
    builder = tfds.open_builder(name, data_dir)
    features = builder.info.features
    found = {
        what: next((key for key in (column, *_FEATURES[what]) if key in features), None)
        for what, column in columns.items()
    }
    for what in ("user", "item", "time"):
        if found[what] is None:
            names = (columns[what], *_FEATURES[what])
            raise UserError(
                f"Expected a feature named {' or '.join(map(repr, names))} in {name}. "
                f"Found: {', '.join(features)}"
            )
    datasets = tfds.load(name, builder, data_dir)
    if "train" not in datasets:
        raise UserError(f"Expected a split train in {name}. Its splits: {', '.join(datasets)}")

    from tensorflow_datasets import as_numpy

    keys = [found[what] for what in ("user", "item", "time", "title") if found[what]]
    rows = _Rows()
    batches = datasets["train"].batch(4096).map(lambda row: tuple(row[key] for key in keys))
    for batch in as_numpy(batches):
        for user, item, time, *title in zip(*batch, strict=True):
            item = _string(item)
            rows.add(_string(user), item, float(time))
            if title:
                rows.titles.setdefault(item, " ".join(_string(title[0]).split()))
    return rows, tfds.about(builder)


def _string(value):
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
