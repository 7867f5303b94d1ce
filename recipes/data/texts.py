"""Labelled texts from files, from TensorFlow Datasets, or from the toy grammar, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)            # train.csv, test.csv and perhaps dev.csv in it
    data = load("tfds:imdb_reviews", seed=0)
    data.train.texts, data.train.labels, data.labels

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from recipes.data import tables, tfds
from recipes.data.toy import reviews as toy_reviews
from recipes.kit.errors import UserError

_TOY = "toy"


@dataclasses.dataclass(frozen=True)
class Split:
    """Texts and, for each, the index of its label in `LabelledTexts.labels`."""

    texts: list[str]
    labels: np.ndarray  # int32, one a text

    def __len__(self):
        return len(self.texts)


@dataclasses.dataclass(frozen=True)
class LabelledTexts:
    """A data set for classification.

    Attributes:
        train, validation, test: The three `Split`s.
        labels: List of strings, the names of the classes in order: by number if all are integers,
            else by alphabet.
        name: String, as the user gave it, e.g. `"tfds:glue/sst2"`.
        description: String, where the texts come from, in a sentence or two.
        licence: String, what is known about the terms of use.
        notes: List of strings, what a reader of a score should know about the splits.
    """

    train: Split
    validation: Split
    test: Split
    labels: list[str]
    name: str
    description: str
    licence: str
    notes: list[str]

    @property
    def splits(self):
        """Dict of the three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @functools.cached_property
    def fingerprint(self):
        """String that changes with any text, label or split."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        for split in self.splits.values():
            digest.update(split.labels.tobytes())
            for text in split.texts:
                digest.update(text.encode() + b"\0")
        return digest.hexdigest()

    def __str__(self):
        sizes = f"{len(self.train):,} / {len(self.validation):,} / {len(self.test):,}"
        shown = ", ".join(self.labels[:8]) + (", ..." if len(self.labels) > 8 else "")
        lines = [
            f"{self.name}: {sizes} texts to train, validate and test; "
            f"{len(self.labels)} labels: {shown}"
        ]
        return "\n".join(lines + [f"  Note: {note}" for note in self.notes])


@dataclasses.dataclass
class _Rows:
    """One split as it was read: labels are names still, and each row knows where it stood."""

    texts: list[str]
    labels: list[str]
    source: str  # a file, or a split of a TFDS data set
    lines: list[int] | None = None  # the line in the file, from 1

    def where(self, row):
        return f"{self.source}:{self.lines[row]}" if self.lines else self.source

    def __len__(self):
        return len(self.texts)

    def take(self, rows):
        return _Rows(
            [self.texts[row] for row in rows],
            [self.labels[row] for row in rows],
            self.source,
            [self.lines[row] for row in rows] if self.lines else None,
        )


def load(
    source,
    *,
    seed,
    validation_fraction=0.1,
    limit=None,
    text_column="text",
    label_column="label",
    data_dir=None,
    toy=toy_reviews,
):
    """Returns the `LabelledTexts` of a source.

    A source without a validation split gets one cut from its training split: the same share of
    each label, and all copies of a text on the same side.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, any set of TensorFlow Datasets that has a text or several
            and a class label; or the path of a folder with `train.*`, `test.*` and perhaps `dev.*`
            (`validation.*`, `valid.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8, with
            named columns. csv is quoted as usual; tsv knows no quotes.
        seed: Integer, decides which texts are cut off for validation and kept by `limit`. The toy
            reviews are the same for every seed.
        validation_fraction: Float in `(0, 1)`, share of the training split to cut off.
        limit: Integer or None, at most so many texts of each split, for a quick look.
        text_column: String, the column with the text; or several, such as `"title,description"`,
            whose texts are joined with an empty line between. A set of TensorFlow Datasets
            without it is read by all the texts that it has.
        label_column: String, the column with the label, a string or an integer.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.
        toy: The module of the toy texts: `splits()` gives those to train, validate and test, each
            with a `text` and a `label`, and `DESCRIPTION` says what they are.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> data.labels, len(data.train), data.train.labels.dtype
    (['negative', 'positive'], 100, dtype('int32'))
    """
    if str(source) == _TOY:
        splits, about = _read_toy(toy)
    elif str(source).startswith(tfds.PREFIX):
        name = str(source).removeprefix(tfds.PREFIX)
        splits, about = _read_tfds(name, text_column, label_column, data_dir)
    else:
        splits, about = _read_folder(Path(source).expanduser(), text_column, label_column)
    return _assemble(splits, str(source), about, seed, validation_fraction, limit)


def _assemble(splits, name, about, seed, validation_fraction, limit):
    """Checks the labels against each other, cuts what is to be cut, and numbers the labels."""
    train, notes = splits["train"], about.pop("notes", [])
    labels = sorted(set(train.labels), key=_label_order(train.labels))
    if len(labels) < 2:
        raise UserError(
            f"Expected two labels or more in {train.source}. Received only: {labels[0]}"
        )
    for part in ("validation", "test"):
        _check_labels_known(splits.get(part), labels, train.source)
    if limit is not None:
        if limit < 2 * len(labels):
            raise UserError(
                f"--limit must leave two texts of each of the {len(labels)} labels. "
                f"Received: {limit}"
            )
        if any(len(rows) > limit for rows in splits.values()):
            notes = [*notes, f"only up to {limit:,} texts of each split were used"]
        splits = {part: _sample(rows, limit, seed) for part, rows in splits.items()}
    if "validation" not in splits:
        splits["train"], splits["validation"] = _cut(splits["train"], validation_fraction, seed)
        notes = [*notes, "the validation texts were cut from the training texts"]
    training_texts = set(splits["train"].texts) | set(splits["validation"].texts)
    seen = sum(text in training_texts for text in splits["test"].texts)
    if seen:
        notes = [*notes, f"{seen:,} of the test texts also occur in the training texts"]
    number = {label: index for index, label in enumerate(labels)}
    parts = {
        part: Split(rows.texts, np.array([number[label] for label in rows.labels], np.int32))
        for part, rows in splits.items()
    }
    return LabelledTexts(**parts, labels=labels, name=name, notes=notes, **about)


def _label_order(labels):
    if all(re.fullmatch(r"-?\d+", label) for label in set(labels)):
        return lambda label: (int(label), label)
    return lambda label: label


def _check_labels_known(rows, labels, train_source):
    if rows is None:
        return
    known = set(labels)
    for row, label in enumerate(rows.labels):
        if label not in known:
            raise UserError(
                f"{rows.where(row)}: expected a label that occurs in {train_source}. "
                f"Received: {tables.short(label)}"
            )


def _groups(rows, rng):
    """Returns for each label its rows in random order, copies of a text side by side."""
    copies = {}
    for row, text in enumerate(rows.texts):
        copies.setdefault(text, []).append(row)
    by_label = {}
    for same in copies.values():  # copies that disagree count for the label that came first
        by_label.setdefault(rows.labels[same[0]], []).append(same)
    return {
        label: [groups[index] for index in rng.permutation(len(groups))]
        for label, groups in sorted(by_label.items())
    }


def _cut(rows, fraction, seed):
    """Splits rows in two, the second with `fraction` of each label."""
    kept, cut = [], []
    for label, groups in _groups(rows, np.random.default_rng(seed)).items():
        if len(groups) < 2:
            raise UserError(
                f"{rows.source}: expected two different texts or more with the label "
                f"{tables.short(label)}, one of them for validation. Received: {len(groups)}. "
                "A file dev.csv would do as well"
            )
        count = min(max(1, round(fraction * len(groups))), len(groups) - 1)
        cut += [row for same in groups[:count] for row in same]
        kept += [row for same in groups[count:] for row in same]
    return rows.take(sorted(kept)), rows.take(sorted(cut))


def _sample(rows, limit, seed):
    """Returns at most `limit` rows: two of each label if it has them, then its share."""
    if len(rows) <= limit:
        return rows
    ranked = []
    for groups in _groups(rows, np.random.default_rng(seed)).values():
        ordered = [same[0] for same in groups]  # copies are no use in a quick look
        ranked += [
            (0 if rank < 2 else rank / len(ordered), row) for rank, row in enumerate(ordered)
        ]
    return rows.take(sorted(row for _, row in sorted(ranked)[:limit]))


# ------------------------------------------------------------------------------------ toy


def _read_toy(toy):
    train, validation, test = (
        _Rows([row.text for row in rows], [row.label for row in rows], _TOY)
        for rows in toy.splits()
    )
    about = {"description": toy.DESCRIPTION, "licence": "Apache-2.0, as this project."}
    return {"train": train, "validation": validation, "test": test}, about


# ------------------------------------------------------------------------------------ files


def _read_folder(folder, text_column, label_column):
    splits = {
        part: read_file(path, text_column, label_column)
        for part, path in tables.find_splits(folder).items()
    }
    about = {
        "description": f"Texts from the files in {folder.name}.",
        "licence": "As given by those who made the files.",
    }
    return splits, about


def read_file(path, text_column="text", label_column="label"):
    """Returns the rows of a csv, tsv or jsonl file: `texts`, `labels` and `lines`, three lists.

    An empty text is a text. Spaces around a label are dropped.
    """
    columns = {**dict.fromkeys(_names(text_column), "text"), label_column: "value"}
    lines, *texts, labels = map(list, zip(*tables.read(path, columns), strict=True))
    return _Rows([_join(row) for row in zip(*texts, strict=True)], labels, str(path), lines)


def _names(columns):
    return [name.strip() for name in columns.split(",")]


def _join(texts):
    """One text of several: a title and a description are paragraphs of their own."""
    return texts[0] if len(texts) == 1 else "\n\n".join(text for text in texts if text.strip())


# ------------------------------------------------------------------------------------ TFDS


def _read_tfds(name, text_column, label_column, data_dir):
    builder = tfds.open_builder(name, data_dir)
    from tensorflow_datasets import features as kinds

    features = builder.info.features
    text_columns = tfds.find_texts(name, features, _names(text_column), kinds.Text)
    label_column = tfds.find_feature(name, features, label_column, kinds.ClassLabel, "label")
    datasets = tfds.load(name, builder, data_dir)

    splits, notes = {}, []
    if len(text_columns) > 1:
        notes.append(f"a text is its {' and its '.join(text_columns)}")
    for part, names in tables.SPLIT_NAMES.items():
        found = next((split for split in (*names, part) if split in datasets), None)
        if found is not None:
            source = f"{name}, split {found}"
            splits[part] = _tfds_rows(
                datasets[found], text_columns, label_column, features[label_column].names, source
            )
    if splits.get("test") is None and splits.get("validation") is not None:
        # Competitions keep the labels of their test split to themselves.
        splits["test"] = splits.pop("validation")
        notes.append("the test split has no labels; the official validation split is the test here")
    splits = {part: rows for part, rows in splits.items() if rows is not None}
    for part in ("train", "test"):
        if part not in splits:
            raise UserError(
                f"Expected labelled texts to {part} in {name}. Its splits: {', '.join(datasets)}"
            )
    return splits, {**tfds.about(builder), "notes": notes}


def _tfds_rows(dataset, text_columns, label_column, names, source):
    """Returns the rows of a split, or None if it has no labels."""
    from tensorflow_datasets import as_numpy

    columns = dataset.map(lambda row: ([row[name] for name in text_columns], row[label_column]))
    rows = list(as_numpy(columns))
    if not rows or any(label < 0 for _, label in rows):
        return None
    texts = [_join([text.decode("utf-8", errors="replace") for text in row]) for row, _ in rows]
    return _Rows(texts, [names[label] for _, label in rows], source)
