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
import json
import math
import re

import numpy as np

from recipes.data import dataset, tables, tfds
from recipes.data.toy import interactions as toy_interactions
from recipes.kit.errors import UserError

MIN_LENGTH = 3  # one item to start from, one to validate on, one to test on


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interactions(dataset.Described):
    """The items that each user took, in order, split by time.

    The last item of each user is for the test, the last but one for validation, and the others
    are to learn from. Further attributes as of `dataset.Described`.

    Attributes:
        histories: List of int32 arrays, one a user: the items in the order of time, none twice.
            Items are numbered from 1; 0 is left for padding.
        items: List of strings, the names of the items: item n is `items[n - 1]`.
        titles: List of strings in the same order; empty where a title is not known.
    """

    histories: list[np.ndarray]
    items: list[str]
    titles: list[str]

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

    @property
    def examples(self):
        return len(self.histories)

    def _contents(self):
        yield json.dumps([self.items, self.titles]).encode()
        for history in self.histories:
            yield history.tobytes() + b"\0"

    def _summary(self):
        count = sum(map(len, self.histories))
        return (
            f"{self.name}: {count:,} interactions of {len(self.histories):,} users with "
            f"{len(self.items):,} items; a user's last item is the test, the one before validation"
        )


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

    def add_title(self, item, title):
        self.titles.setdefault(item, " ".join(title.split()))


def load(source, **options):
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
    return InteractionReader(**options).load(source)


def read_histories(path, *, user_column="user", item_column="item", time_column="time"):
    """The items of each user in a csv, tsv or jsonl file, in the order of time, none twice.

    Args:
        path: Path.
        user_column, item_column, time_column: As for `load`.

    Returns:
        Dict from users, in the order of the file, to lists of names of items.

    Raises:
        UserError: If the file or a row of it cannot be read.
    """
    rows, read_time = {}, _Times(time_column)
    columns = dict.fromkeys((user_column, item_column, time_column), "value")
    for line, user, item, time in tables.read(path, columns):
        rows.setdefault(user, []).append((read_time(time, f"{path}:{line}"), item))
    return {
        user: list(dict.fromkeys(item for _, item in sorted(taken, key=lambda row: row[0])))
        for user, taken in rows.items()
    }


# How data sets call what we need.
_FEATURES = {
    "user": ("user_id",),
    "item": ("item_id", "movie_id"),
    "time": ("timestamp",),
    "title": ("item_title", "movie_title"),
}


@dataclasses.dataclass(kw_only=True)
class InteractionReader(dataset.Reader):
    """Reads `Interactions`; arguments as of `load`."""

    dataset_class = Interactions
    toy, folder_contents = toy_interactions, "Interactions"

    user_column: str = "user"
    item_column: str = "item"
    time_column: str = "time"
    title_column: str = "title"

    def __post_init__(self):
        columns = [getattr(self, f"{kind}_column") for kind in _FEATURES]
        *of_interactions, title = columns
        if len(set(of_interactions)) < 3 or title == self.item_column or not all(columns):
            given = [
                f"--{kind}-column {name}" for kind, name in zip(_FEATURES, columns, strict=True)
            ]
            raise UserError(
                "Expected different columns of user, item and time, and of item and title. "
                f"Received: {' '.join(given)}"
            )

    def load(self, source):
        rows, facts = self.read(source)
        return self.assemble(rows, name=str(source), **facts)

    def read_toy(self):
        rows = _Rows(titles=toy_interactions.TITLES)
        for user, item, time in toy_interactions.interactions():
            rows.add(user, item, time)
        return rows, self.toy_facts()

    def read_folder(self, folder):
        tables.check_folder(folder, wanted="interactions.csv")
        path = tables.find_file(folder, ("interactions",))
        if path is None:
            tables.raise_missing(folder, "interactions")
        rows = _Rows()
        names = self.user_column, self.item_column, self.time_column
        read_time = _Times(self.time_column)
        for line, user, item, time in tables.read(path, dict.fromkeys(names, "value")):
            rows.add(user, item, read_time(time, f"{path}:{line}"))
        self.read_titles(rows, tables.find_file(folder, ("items",)), path)
        return rows, self.folder_facts(folder)

    def read_titles(self, rows, path, interactions):
        if path is None:
            return
        columns = {self.item_column: "value", self.title_column: "text"}
        for _, item, title in tables.read(path, columns):
            rows.add_title(item, title)
        if not rows.titles.keys() & rows.item_numbers.keys():
            raise UserError(
                f"{path}: expected items of {interactions.name}, such as "
                f"{tables.short(next(iter(rows.item_numbers)))}. It has none of them, but such as "
                f"{tables.short(next(iter(rows.titles)))}"
            )

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        features = self.find_features(name, builder.info.features)
        datasets = tfds.load(name, builder, self.data_dir)
        if "train" not in datasets:
            raise UserError(f"Expected a split train in {name}. Its splits: {', '.join(datasets)}")

        from tensorflow_datasets import as_numpy

        rows = _Rows()
        batches = datasets["train"].batch(4096).map(lambda row: tuple(row[key] for key in features))
        for batch in as_numpy(batches):
            for user, item, time, *title in zip(*batch, strict=True):
                item = _string(item)
                rows.add(_string(user), item, float(time))
                if title:
                    rows.add_title(item, _string(title[0]))
        return rows, tfds.about(builder)

    def find_features(self, name, features):
        """Returns the features of user, item, time and, if there is one, title."""
        chosen = []
        for kind, usual_names in _FEATURES.items():
            names = (getattr(self, f"{kind}_column"), *usual_names)
            present = [key for key in names if key in features]
            if not present and kind != "title":
                raise UserError(
                    f"Expected a feature named {' or '.join(map(repr, names))} in {name}. "
                    f"Found: {', '.join(features)}"
                )
            chosen += present[:1]
        return chosen

    def assemble(self, rows, name, **facts):
        """Sorts by user and time, leaves out what cannot be used, and numbers the items."""
        users, items, times = (np.array(column) for column in (rows.users, rows.items, rows.times))
        order = np.lexsort((times, users))  # rows of one user and time stay in their order
        users, items = users[order], items[order]

        pairs = users.astype(np.int64) * len(rows.item_numbers) + items
        first = np.sort(np.unique(pairs, return_index=True)[1])
        self.note_left_out(
            len(pairs) - len(first), "interaction", "of a user with an item taken before"
        )
        users, items = users[first], items[first]

        lengths = np.bincount(users, minlength=len(rows.user_numbers))
        kept = np.flatnonzero(lengths >= MIN_LENGTH)
        if lengths.max() <= MIN_LENGTH:
            raise UserError(
                f"Expected a user with {MIN_LENGTH + 1} items or more in {name}: two to learn "
                f"from, one to validate on and one to test on. The longest history has "
                f"{lengths.max()}"
            )
        self.note_left_out(len(lengths) - len(kept), "user", f"with fewer than {MIN_LENGTH} items")
        if self.limit is not None and len(kept) > self.limit:
            kept = np.sort(self.rng.choice(kept, self.limit, replace=False))
            self.notes.append(f"only {self.limit:,} users were used")

        ends = np.cumsum(lengths)
        histories = [items[ends[user] - lengths[user] : ends[user]] for user in kept]
        names = list(rows.item_numbers)
        used = np.unique(np.concatenate(histories))
        if len(used) < 2:
            raise UserError(
                f"Expected two items or more in {name}. Received only: {names[used[0]]}"
            )
        ordered = sorted(used, key=lambda item: _item_order(names[item]))
        numbers = np.zeros(len(names), np.int32)
        numbers[ordered] = np.arange(1, len(ordered) + 1)
        ordered_names = [names[item] for item in ordered]
        return Interactions(
            histories=[numbers[history] for history in histories],
            items=ordered_names,
            titles=[rows.titles.get(item, "") for item in ordered_names],
            name=name,
            notes=self.notes,
            **facts,
        )

    def note_left_out(self, count, noun, which):
        if count:
            was = f"{noun} {which} was" if count == 1 else f"{noun}s {which} were"
            self.notes.append(f"{count:,} {was} left out")


def _item_order(name):
    """Numbers by size, then other names by alphabet."""
    is_number = bool(re.fullmatch(r"\d{1,18}", name))
    return (not is_number, int(name) if is_number else 0, name)


@dataclasses.dataclass
class _Times:
    """Reads the times of a column: all of them numbers, or all dates; seconds, if dates."""

    column: str
    kind: str | None = None

    def __call__(self, value, where):
        kind, time = "a number", _number(value)
        if math.isnan(time):
            kind, time = "a date", _date(value)
        if not math.isfinite(time) or self.kind not in (None, kind):
            wanted = f"{self.kind} as in the rows before" if self.kind else "a number or a date"
            raise UserError(
                f"{where}: expected {wanted} in {self.column}. Received: {tables.short(value)}"
            )
        self.kind = kind
        return time


def _number(value):
    try:
        return float(value)
    except ValueError:
        return math.nan


def _date(value):
    """Seconds of a date and time in ISO 8601, by UTC where it names no zone."""
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return math.nan
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()


def _string(value):
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
