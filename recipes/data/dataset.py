"""What all data sets share: splits, facts about them, and how they are loaded.

    data = texts.load("toy", seed=0)                # likewise a folder, or "tfds:NAME"
    data.train, data.validation, data.test          # `Split`s: columns of equal length
    print(data)                                     # sizes and notes
    data.about, data.examples, data.fingerprint

A module such as `texts` or `pairs` adds three small classes: a `Split` with its columns, a
`Dataset` with what else belongs to it, and a `Reader` that names the columns and checks them.

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from recipes.data import tables, tfds
from recipes.kit.errors import UserError

TOY = "toy"
PARTS = ("train", "validation", "test")
# Marks a field of a `Split` that belongs to all of its rows.
SHARED = {"is_shared": True}


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows of a data set. A subclass adds a field for each column: a list or an array.

    Attributes:
        origin: String, where the rows come from: a file, or a split of TensorFlow Datasets.
        lines: List of integers, the line in that file, from 1, where each row begins; or `None`.
    """

    origin: str = dataclasses.field(
        default="", kw_only=True, compare=False, repr=False, metadata=SHARED
    )
    lines: list[int] | None = dataclasses.field(
        default=None, kw_only=True, compare=False, repr=False, metadata=SHARED
    )

    @property
    def columns(self):
        """Dict from the name of each column to its values."""
        fields = [field for field in dataclasses.fields(self) if field.metadata != SHARED]
        return {field.name: getattr(self, field.name) for field in fields}

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def take(self, rows):
        """The same with these rows alone, in this order."""
        rows = list(rows)
        columns = {name: _take(column, rows) for name, column in self.columns.items()}
        return dataclasses.replace(self, **columns, lines=self.lines and _take(self.lines, rows))

    def where(self, row):
        """The place of a row, for an error message."""
        return f"{self.origin}:{self.lines[row]}" if self.lines else self.origin


def _take(column, rows):
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """Facts about a data set.

    Attributes:
        name: String, the source as the user gave it, e.g. `"tfds:glue/sst2"`.
        description: String, where the data come from, in a sentence or two.
        licence: String, what is known about the terms of use.
        notes: List of strings, what a reader of a score should know about the data.
    """

    name: str
    description: str
    licence: str
    notes: list[str]

    @property
    def about(self):
        """Description, licence, sizes and notes in Markdown, for the model card."""
        notes = [f"Note: {note}." for note in self.notes]
        return "\n\n".join([self.description, self.licence, f"{self._summary()}.", *notes])

    @property
    def examples(self):
        """Integer, the number of training examples, on which default sizes depend."""
        raise NotImplementedError

    @property
    def sizes(self):
        """Dict from the name of each part to the number of its examples."""
        return {"train": self.examples}

    @functools.cached_property
    def fingerprint(self):
        """String that changes with any value, order or split."""
        digest = hashlib.sha256()
        for content in self._contents():
            digest.update(content)
        return digest.hexdigest()

    def _contents(self):
        """Yields all that the fingerprint depends on, as bytes."""
        raise NotImplementedError

    def _summary(self):
        """One line: name and sizes."""
        raise NotImplementedError

    def __str__(self):
        return "\n".join([self._summary(), *(f"  Note: {note}" for note in self.notes)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(Described):
    """A data set with splits to train, to validate and to test. A subclass sets `plural`.

    Attributes:
        train, validation, test: The three `Split`s.
        plural: String, what its rows are called, e.g. `"texts"`.
    """

    plural: ClassVar[str] = "rows"

    train: Split
    validation: Split
    test: Split

    @property
    def splits(self):
        """Dict of the three splits by name."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def examples(self):
        return len(self.train)

    @property
    def sizes(self):
        return {part: len(split) for part, split in self.splits.items()}

    def _contents(self):
        for split in self.splits.values():
            for column in split.columns.values():
                yield from bytes_of(column)
            yield b"\1"

    def _summary(self):
        sizes = " / ".join(f"{len(split):,}" for split in self.splits.values())
        return f"{self.name}: {sizes} {self.plural} to train, validate and test{self._details()}"

    def _details(self):
        """How the summary goes on."""
        return ""


def bytes_of(column):
    if isinstance(column, np.ndarray):
        return [column.tobytes()]
    return (str(value).encode() + b"\0" for value in column)


@dataclasses.dataclass(kw_only=True)
class Reader:
    """Reads a data set from a source of any kind. A reader reads once.

    A subclass sets the class attributes and overrides `check` where columns have rules, and what
    it reads in a way of its own: `read_toy`, `read_tfds`, `read_folder` or parts of them.

    Args:
        seed: Integer, decides which rows are cut off for validation and kept by `limit`. The toy
            data are the same for every seed.
        validation_fraction: Float in `(0, 1)`, share of the training split to cut off where the
            source has no validation split.
        limit: Integer or None, at most so many rows of each split, for a quick look.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.

    Class attributes:
        split_class, dataset_class: The classes to make.
        columns: Dict from the names of the columns in files, in the order of the split's fields,
            to what they hold, see `tables.read`. Features of TensorFlow Datasets have these names.
        toy: Module of toy data: `splits()` gives the rows to train, validate and test, and
            `DESCRIPTION` says what they are.
        toy_columns: Names of the attributes of a toy row, in the order of the split's fields.
        key: Name of the column whose equal values stay on one side when validation is cut, and of
            which those that occur in both test and training are counted.
        key_plural: String, what the values of that column are called.
    """

    tfds_contents: ClassVar[str] = "{plural} to {part}"
    limit_note: ClassVar[str] = "only up to {limit:,} {plural} of each split were used"
    validation_hint: ClassVar[str] = "A file dev.csv would do as well"

    seed: int
    validation_fraction: float = 0.1
    limit: int | None = None
    data_dir: Path | str | None = None
    notes: list[str] = dataclasses.field(default_factory=list, init=False)

    @property
    def plural(self):
        """What the rows are called."""
        return self.dataset_class.plural

    @property
    def key_plural(self):
        return self.plural

    @property
    def folder_contents(self):
        """What a folder holds, as the description says it."""
        return self.key_plural.capitalize()

    @functools.cached_property
    def rng(self):
        """The generator of all draws."""
        return np.random.default_rng(self.seed)

    def load(self, source):
        """Returns the data set of a source, see the module's own `load`."""
        splits, facts = self.read(source)
        splits = self.check(splits)
        if self.limit is not None:
            if any(len(split) > self.limit for split in splits.values()):
                self.notes.append(self.limit_note.format(limit=self.limit, plural=self.plural))
            splits = {part: self.sample(split) for part, split in splits.items()}
        if "validation" not in splits:
            splits["train"], splits["validation"] = self.cut(splits["train"])
            self.notes.append(
                f"the validation {self.plural} were cut from the training {self.plural}"
            )
        self._note_overlap(**splits)
        return self.build(splits, name=str(source), notes=self.notes, **facts)

    def read(self, source):
        """Returns a dict of splits, and the description and licence as a dict."""
        source = str(source)
        if source == TOY:
            return self.read_toy()
        if source.startswith(tfds.PREFIX):
            return self.read_tfds(source.removeprefix(tfds.PREFIX))
        return self.read_folder(Path(source).expanduser())

    def check(self, splits):
        """Returns the splits, perhaps without some rows, or raises where a column is wrong."""
        return splits

    def build(self, splits, **facts):
        """Returns the data set."""
        return self.dataset_class(**splits, **facts)

    def sample(self, split):
        """The split with at most `limit` rows, in their order."""
        if len(split) <= self.limit:
            return split
        return split.take(sorted(self.rng.permutation(len(split))[: self.limit].tolist()))

    def cut(self, split, fraction=None):
        """Two splits of one: the second gets a share of each stratum, `validation_fraction`."""
        fraction = self.validation_fraction if fraction is None else fraction
        kept, cut = [], []
        for stratum, groups in self.groups(split).items():
            if len(groups) < 2:
                if not self.is_needed(stratum):
                    kept += [row for group in groups for row in group]
                    continue
                which = self.named(stratum)
                raise UserError(
                    f"{split.origin}: expected two different {self.key_plural} or more{which}, one "
                    f"of them for validation. Received: {len(groups)}. {self.validation_hint}"
                )
            count = min(max(1, round(fraction * len(groups))), len(groups) - 1)
            cut += [row for group in groups[:count] for row in group]
            kept += [row for group in groups[count:] for row in group]
        return split.take(sorted(kept)), split.take(sorted(cut))

    def is_needed(self, stratum):
        """Whether there is nothing to validate on without some groups of a stratum."""
        return True

    def named(self, stratum):
        """How an error tells of what is in a stratum."""
        return "" if stratum is None else f" with the label {tables.short(stratum)}"

    def groups(self, split):
        """Dict from each stratum to its groups in random order; a group is rows of equal keys."""
        equal = {}
        for row, key in enumerate(split.columns[self.key]):
            equal.setdefault(key, []).append(row)
        strata = {}
        for rows in equal.values():  # the first of equal rows decides
            strata.setdefault(self.stratum(split, rows[0]), []).append(rows)
        rng = self.rng
        return {
            stratum: [groups[index] for index in rng.permutation(len(groups))]
            for stratum, groups in sorted(strata.items())
        }

    def stratum(self, split, row):
        """What a row counts for, such as its label; a cut takes the same share of each."""
        return

    def _note_overlap(self, train, validation, test):
        known = {*train.columns[self.key], *validation.columns[self.key]}
        count = sum(key in known for key in test.columns[self.key])
        if count:
            self.notes.append(
                f"{count:,} of the test {self.key_plural} also occur in the training "
                f"{self.key_plural}"
            )

    def read_toy(self):
        splits = {}
        for part, rows in zip(PARTS, self.toy.splits(), strict=True):
            columns = [[getattr(row, name) for row in rows] for name in self.toy_columns]
            splits[part] = self.split_class(*columns, origin=TOY)
        return splits, self.toy_facts()

    def toy_facts(self):
        return {"description": self.toy.DESCRIPTION, "licence": "Apache-2.0, as this project."}

    def read_folder(self, folder):
        files = tables.find_splits(folder)
        splits = {part: self.read_file(path) for part, path in files.items()}
        return splits, self.folder_facts(folder)

    def read_file(self, path):
        """Returns the rows of a csv, tsv or jsonl file as a split."""
        lines, *columns = map(list, zip(*tables.read(path, self.columns), strict=True))
        return self.make_split(columns, origin=str(path), lines=lines)

    def make_split(self, columns, **where):
        """Returns the split of the columns as they were read."""
        return self.split_class(*columns, **where)

    def folder_facts(self, folder):
        return {
            "description": f"{self.folder_contents} from the files in {folder.name}.",
            "licence": "As given by those who made the files.",
        }

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        features = self.find_features(name, builder.info.features)
        datasets = tfds.load(name, builder, self.data_dir)
        splits = {}
        for part, official in tfds.official_splits(datasets).items():
            columns = tfds.read_columns(datasets[official], features)
            if any(None in column for column in columns):
                continue  # competitions keep the labels of their test split
            splits[part] = self.make_split(columns, origin=f"{name}, split {official}")
        return self.require_tfds(splits, name, datasets), tfds.about(builder)

    def find_features(self, name, features):
        """Returns a dict of the features to read, in the order of the columns."""
        return tfds.require_features(name, features, self.columns)

    def require_tfds(self, splits, name, datasets):
        """Returns the splits with rows, or raises where there is nothing to train or test with."""
        splits = {part: split for part, split in splits.items() if len(split)}
        if "test" not in splits and "validation" in splits:
            splits["test"] = splits.pop("validation")
            self.notes.append(
                "the test split has no labels; the official validation split is the test here"
                if "test" in datasets
                else "there is no test split; the official validation split is the test here"
            )
        for part in ("train", "test"):
            if part not in splits:
                contents = self.tfds_contents.format(part=part, plural=self.plural)
                raise UserError(f"Expected {contents} in {name}. Its splits: {', '.join(datasets)}")
        return splits
