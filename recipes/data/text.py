"""Labelled texts from files, from TensorFlow Datasets, or from the toy grammar, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)            # train.csv, test.csv and perhaps dev.csv in it
    data = load("tfds:imdb_reviews", seed=0)
    data.train.texts, data.train.labels, data.labels

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import contextlib
import csv
import dataclasses
import difflib
import functools
import gzip
import hashlib
import json
import re
import threading
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from recipes.common import UserError
from recipes.data import toy_reviews

_TOY = "toy"
_TFDS = "tfds:"
_FORMATS = ("csv", "tsv", "jsonl")
_SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("dev", "validation", "valid"),
    "test": ("test",),
}


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

    @functools.cached_property
    def fingerprint(self):
        """String that changes with any text, label or split."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        for split in (self.train, self.validation, self.test):
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
):
    """Returns the `LabelledTexts` of a source.

    A source without a validation split gets one cut from its training split: the same share of
    each label, and all copies of a text on the same side.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, any set of TensorFlow Datasets that has a text and a
            class label; or the path of a folder with `train.*`, `test.*` and perhaps `dev.*`
            (`validation.*`, `valid.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8, with
            named columns. csv is quoted as usual; tsv knows no quotes.
        seed: Integer, decides which texts are cut off for validation and kept by `limit`. The toy
            reviews are the same for every seed.
        validation_fraction: Float in `(0, 1)`, share of the training split to cut off.
        limit: Integer or None, at most so many texts of each split, for a quick look.
        text_column: String, the column with the text.
        label_column: String, the column with the label, a string or an integer.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> data.labels, len(data.train), data.train.labels.dtype
    (['negative', 'positive'], 100, dtype('int32'))
    """
    if str(source) == _TOY:
        splits, about = _read_toy()
    elif str(source).startswith(_TFDS):
        name = str(source).removeprefix(_TFDS)
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
                f"Received: {_short(label)}"
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
                f"{_short(label)}, one of them for validation. Received: {len(groups)}. "
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


def _short(value):
    """`value` as a message can show it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


# ------------------------------------------------------------------------------------ toy


def _read_toy():
    train, validation, test = (
        _Rows([review.text for review in reviews], [review.label for review in reviews], _TOY)
        for reviews in toy_reviews.splits()
    )
    about = {
        "description": "Reviews of films, products and restaurants from a grammar "
        "(recipes/data/toy_reviews.py), with planted sentiment words, negation and filler.",
        "licence": "Apache-2.0, as this project.",
    }
    return {"train": train, "validation": validation, "test": test}, about


# ------------------------------------------------------------------------------------ files


def _read_folder(folder, text_column, label_column):
    if not folder.exists():
        raise UserError(
            f"Expected `{_TOY}`, `{_TFDS}NAME` or a folder with train.csv and test.csv. "
            f"There is no folder {folder}"
        )
    if not folder.is_dir():
        raise UserError(f"Expected a folder with train.csv and test.csv. Received a file: {folder}")
    files = {part: _find_file(folder, names) for part, names in _SPLIT_NAMES.items()}
    for part in ("train", "test"):
        if files[part] is None:
            there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
            raise UserError(
                f"Expected a file {part}.csv, {part}.tsv or {part}.jsonl (or .gz of it) in "
                f"{folder}. Found: {there}"
            )
    splits = {
        part: read_file(path, text_column, label_column)
        for part, path in files.items()
        if path is not None
    }
    about = {
        "description": f"Texts from the files in {folder.name}.",
        "licence": "As given by those who made the files.",
    }
    return splits, about


def _find_file(folder, names):
    wanted = {f"{name}.{suffix}{gz}" for name in names for suffix in _FORMATS for gz in ("", ".gz")}
    found = sorted(path for path in folder.iterdir() if path.name in wanted)
    if len(found) > 1:
        raise UserError(
            f"Expected one file in {folder}. Received: {found[0].name} and {found[1].name}"
        )
    return found[0] if found else None


def read_file(path, text_column="text", label_column="label"):
    """Returns the rows of a csv, tsv or jsonl file: `texts`, `labels` and `lines`, three lists.

    An empty text is a text. Spaces around a label are dropped.
    """
    rows = _Rows([], [], str(path), [])
    read = _read_jsonl if ".jsonl" in path.suffixes else _read_csv
    try:
        for line, text, label in read(path, text_column, label_column):
            label = label.strip()
            if not label:
                raise UserError(f"{path}:{line}: expected a label. Received an empty one")
            rows.texts.append(text)
            rows.labels.append(label)
            rows.lines.append(line)
    except UnicodeDecodeError:
        raise UserError(f"{path}:{_first_line_not_utf8(path)}: expected UTF-8 text") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the gzip file is broken: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not rows.texts:
        raise UserError(f"{path}: expected a row or more. The file is empty")
    return rows


def _open(path, mode="rt"):
    text = {"encoding": "utf-8-sig", "newline": ""} if mode == "rt" else {}
    return (gzip.open if path.suffix == ".gz" else open)(path, mode, **text)


def _read_csv(path, text_column, label_column):
    is_tsv = ".tsv" in path.suffixes
    # Tab-separated files have no quotes: in SST-2's own a text may begin with one.
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if is_tsv else {"strict": True}
    with _open(path) as file, _any_field_size():
        reader = csv.reader(file, **dialect)
        line = 1
        try:
            header = None
            for fields in reader:
                if not fields:  # a blank line
                    pass
                elif header is None:
                    header = [name.strip() for name in fields]
                    text = _column(header, text_column, f"{path}:{line}")
                    label = _column(header, label_column, f"{path}:{line}")
                elif len(fields) != len(header):
                    raise UserError(
                        f"{path}:{line}: expected {len(header)} fields. Received: {len(fields)}"
                    )
                else:
                    yield line, fields[text], fields[label]
                line = reader.line_num + 1  # where the next row begins: quotes may span lines
        except csv.Error as error:
            raise UserError(f"{path}:{line}: {error}") from None


def _column(names, name, where):
    if name not in names:
        found = ", ".join(_short(name) for name in names[:8])
        raise UserError(f"{where}: expected a column named {name!r}. Found: {found}")
    return names.index(name)


@contextlib.contextmanager
def _any_field_size():
    """Lifts the limit of 131,072 characters a field, which the csv module keeps for everyone."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_jsonl(path, text_column, label_column):
    with _open(path) as file:
        for line, content in enumerate(file, start=1):
            if not content.strip():
                continue
            where = f"{path}:{line}"
            try:
                row = json.loads(content)
            except ValueError as error:
                raise UserError(f"{where}: expected JSON: {error}") from None
            if not isinstance(row, dict):
                raise UserError(f"{where}: expected a JSON object. Received: {_short(row)}")
            for column in (text_column, label_column):
                _column(list(row), column, where)
            text, label = row[text_column], row[label_column]
            if not isinstance(text, str):
                raise UserError(f"{where}: expected a string as text. Received: {_short(text)}")
            if not isinstance(label, (str, int)):
                raise UserError(
                    f"{where}: expected a string or an integer as label. Received: {_short(label)}"
                )
            try:
                text.encode()
            except UnicodeEncodeError:  # JSON can name half of a surrogate pair
                raise UserError(f"{where}: expected text that can be written in UTF-8") from None
            yield line, text, label if isinstance(label, str) else json.dumps(label)


def _first_line_not_utf8(path):
    with _open(path, "rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode()
            except UnicodeDecodeError:
                return line
    raise AssertionError(f"{path} is UTF-8 after all")


# ------------------------------------------------------------------------------------ TFDS


def _read_tfds(name, text_column, label_column, data_dir):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"{_TFDS}{name} needs the package tensorflow-datasets: {error}") from None
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it warns of folders that it will only create
    builder = _tfds_builder(name, data_dir)
    features = builder.info.features
    text_column = _tfds_feature(name, features, text_column, tfds.features.Text, "text")
    label_column = _tfds_feature(name, features, label_column, tfds.features.ClassLabel, "label")
    download = not builder.is_prepared()
    if download and not is_reachable("https://storage.googleapis.com/tfds-data"):
        # tfds.load would try again and again for minutes.
        raise UserError(
            f"The data set {name} is not in {builder.data_dir}, and the network cannot be reached "
            f"to download it. Prepare it on a machine with a network: tfds build {name}"
        )
    try:
        datasets = tfds.load(name, data_dir=data_dir, download=download)
    except Exception as error:
        if not download:
            raise
        raise UserError(f"The data set {name} could not be downloaded: {error}") from error

    splits, notes = {}, []
    for part, names in _SPLIT_NAMES.items():
        found = next((split for split in (*names, part) if split in datasets), None)
        if found is not None:
            source = f"{name}, split {found}"
            splits[part] = _tfds_rows(
                datasets[found], text_column, label_column, features[label_column].names, source
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
    about = {
        "description": " ".join((builder.info.description or name).split()),
        "licence": builder.info.redistribution_info.license
        or f"See the data set's page: {builder.info.homepage}",
        "notes": notes,
    }
    return splits, about


def _tfds_builder(name, data_dir):
    import tensorflow_datasets as tfds

    # Other forms (`huggingface:...`, keyword arguments) would go to the network first.
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        raise UserError(f"Expected {_TFDS}NAME or {_TFDS}NAME/CONFIG. Received: {_TFDS}{name}")
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(re.split("[/:]", name)[0], known)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"TensorFlow Datasets has no data set {name}.{hint}") from None
    except (ValueError, AssertionError) as error:
        base, _, config = name.partition(":")[0].partition("/")
        configs = list(tfds.builder_cls(base).builder_configs)
        if config and config not in configs:
            raise UserError(
                f"The data set {base} has no configuration {config}. "
                f"It has: {', '.join(configs) or 'none'}"
            ) from None
        # No such version: the sentence after TFDS' account of its arguments says which there are.
        reason = str(error).rpartition('}": ')[2]
        raise UserError(f"TensorFlow Datasets cannot load {name}: {reason}") from None


def _tfds_feature(name, features, wanted, kind, what):
    """Returns the name of the feature to read: the wanted one, or the only one of its kind."""
    of_kind = [key for key, feature in features.items() if isinstance(feature, kind)]
    if wanted in of_kind:
        return wanted
    if len(of_kind) != 1:
        raise UserError(
            f"Expected a {what} column named {wanted!r} or a single one in {name}. "
            f"Found: {', '.join(of_kind) or 'none'} among {', '.join(features)}"
        )
    return of_kind[0]


def _tfds_rows(dataset, text_column, label_column, names, source):
    """Returns the rows of a split, or None if it has no labels."""
    import tensorflow_datasets as tfds

    rows = list(tfds.as_numpy(dataset.map(lambda row: (row[text_column], row[label_column]))))
    if not rows or any(label < 0 for _, label in rows):
        return None
    texts = [text.decode("utf-8", errors="replace") for text, _ in rows]
    return _Rows(texts, [names[label] for _, label in rows], source)


def is_reachable(url, seconds=5):
    """Returns whether a server answers, whatever it answers, within `seconds`.

    >>> is_reachable("http://localhost:9")     # nobody listens on the discard port
    False
    """
    answers = []

    def ask():
        try:
            urllib.request.urlopen(url, timeout=seconds).close()
        except urllib.error.HTTPError:
            answers.append(True)
        except OSError:
            answers.append(False)
        else:
            answers.append(True)

    # In a thread of its own: the look-up of the host's name knows no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]
