"""Sentences and their translations from files, TensorFlow Datasets or the toy language.

    data = load("toy", source_language="de", target_language="en", seed=0)
    data = load("my_folder", ...)                  # train.csv, test.csv: columns de and en
    data = load("tfds:ted_hrlr_translate/pt_to_en", ...)
    data.train.sources, data.train.targets

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import collections
import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np

from recipes.data import tables, tfds
from recipes.data.toy import translation as toy_translation
from recipes.kit.errors import UserError

_TOY = "toy"
# Of all rows, how many may have nothing on one side, or be what the other side is.
_EMPTY, _SAME = 0.01, 0.5
# By how much more of a column's words must be known to the other language for it to be swapped.
_SWAPPED = 0.3


@dataclasses.dataclass(frozen=True)
class Split:
    """Sentences and, for each, its translation."""

    sources: list[str]
    targets: list[str]

    def __len__(self):
        return len(self.sources)


@dataclasses.dataclass(frozen=True)
class SentencePairs:
    """A data set for translation.

    Attributes:
        train, validation, test: The three `Split`s.
        source_language, target_language: Strings, as the columns are named.
        name: String, as the user gave it.
        description: String, where the sentences come from.
        licence: String, what is known about the terms of use.
        notes: List of strings, what a reader of a score should know about the splits.
    """

    train: Split
    validation: Split
    test: Split
    source_language: str
    target_language: str
    name: str
    description: str
    licence: str
    notes: list[str]

    @functools.cached_property
    def fingerprint(self):
        """String that changes with any sentence or split."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for text in (*split.sources, *split.targets):
                digest.update(text.encode() + b"\0")
            digest.update(b"\1")
        return digest.hexdigest()

    def __str__(self):
        sizes = f"{len(self.train):,} / {len(self.validation):,} / {len(self.test):,}"
        first = (
            f"{self.name}: {sizes} pairs to train, validate and test, "
            f"from {self.source_language} to {self.target_language}"
        )
        return "\n".join([first, *(f"  Note: {note}" for note in self.notes)])


@dataclasses.dataclass
class _Rows:
    """One split as it was read; each row knows where it stood."""

    sources: list[str]
    targets: list[str]
    origin: str  # a file, or a split of a TFDS data set
    lines: list[int] | None = None  # the line in the file, from 1

    def where(self, row):
        return f"{self.origin}:{self.lines[row]}" if self.lines else self.origin

    def __len__(self):
        return len(self.sources)

    def take(self, rows):
        return _Rows(
            [self.sources[row] for row in rows],
            [self.targets[row] for row in rows],
            self.origin,
            [self.lines[row] for row in rows] if self.lines else None,
        )


def load(
    source,
    *,
    source_language,
    target_language,
    seed,
    validation_fraction=0.1,
    limit=None,
    data_dir=None,
):
    """Returns the `SentencePairs` of a source.

    A source without a validation split gets one cut from its training split, with all copies of a
    sentence on the same side. Pairs with nothing on one side are left out and counted; more than
    one in a hundred are an error.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with a text feature for
            each language; or the path of a folder with `train.*`, `test*.*` and perhaps `dev.*`
            (`val.*`, `valid.*`, `validation.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8,
            with a column for each language.
        source_language: String, the column to translate from. The toy language has its own.
        target_language: String, the column to translate to.
        seed: Integer, decides which pairs are cut off for validation and kept by `limit`.
        validation_fraction: Float in `(0, 1)`, share of the training split to cut off.
        limit: Integer or None, at most so many pairs of each split, for a quick look.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", source_language="de", target_language="en", seed=0, limit=100)
    >>> data.source_language, len(data.train), data.train.targets[0]
    ('toy', 100, 'Big green one.')
    """
    languages = source_language, target_language
    if str(source) == _TOY:
        splits, about = _read_toy()
        languages = toy_translation.LANGUAGES
    elif source_language == target_language:
        raise UserError(f"Expected two languages. Received --source and --target {source_language}")
    elif str(source).startswith(tfds.PREFIX):
        splits, about = _read_tfds(str(source).removeprefix(tfds.PREFIX), languages, data_dir)
    else:
        splits, about = _read_folder(Path(source).expanduser(), languages)
    notes = about.pop("notes", [])
    for part in splits:
        splits[part], found = _without_empty(splits[part], languages)
        notes += found
    _check_languages(splits, languages)
    return _assemble(splits, languages, str(source), about, notes, seed, validation_fraction, limit)


def _assemble(splits, languages, name, about, notes, seed, validation_fraction, limit):
    rng = np.random.default_rng(seed)
    if limit is not None and any(len(rows) > limit for rows in splits.values()):
        notes.append(f"only {limit:,} pairs of each split, at most, were used")
        splits = {part: _sample(rows, limit, rng) for part, rows in splits.items()}
    if "validation" not in splits:
        splits["train"], splits["validation"] = _cut(splits["train"], validation_fraction, rng)
        notes.append("the validation pairs were cut from the training pairs")
    known = {*splits["train"].sources, *splits["validation"].sources}
    seen = sum(text in known for text in splits["test"].sources)
    if seen:
        notes.append(f"{seen:,} of the test sentences also occur in the training sentences")
    parts = {part: Split(rows.sources, rows.targets) for part, rows in splits.items()}
    return SentencePairs(
        **parts,
        source_language=languages[0],
        target_language=languages[1],
        name=name,
        notes=notes,
        **about,
    )


def _without_empty(rows, languages):
    """The rows with something on both sides, and a note of how many were left out."""
    kept, empty = [], []
    for row, texts in enumerate(zip(rows.sources, rows.targets, strict=True)):
        (kept if all(text.strip() for text in texts) else empty).append(row)
    if not empty:
        return rows, []
    if len(empty) > _EMPTY * len(rows):
        first = empty[0]
        language = languages[0] if not rows.sources[first].strip() else languages[1]
        raise UserError(
            f"{rows.where(first)}: expected a sentence in {language!r}. Received an empty one, as "
            f"{len(empty):,} of {len(rows):,} rows have in one of the languages"
        )
    return rows.take(kept), [
        f"{len(empty):,} pairs of {rows.origin} with nothing in one language were left out"
    ]


def _check_languages(splits, languages):
    """Raises where both columns say the same, or a file has them the other way round."""
    train = splits["train"]
    same = sum(a == b for a, b in zip(train.sources, train.targets, strict=True))
    if same > _SAME * len(train):
        raise UserError(
            f"{train.origin}: expected two languages. {same:,} of {len(train):,} rows have the "
            f"same text in {languages[0]!r} and {languages[1]!r}"
        )
    known = [_words(train.sources).keys(), _words(train.targets).keys()]
    for part in ("validation", "test"):
        if part not in splits:
            continue
        rows = splits[part]
        shares = [
            [_share_known(_words(texts), words) for words in known]
            for texts in (rows.sources, rows.targets)
        ]
        swapped = [shares[0][1] - shares[0][0], shares[1][0] - shares[1][1]]
        if min(swapped) > _SWAPPED:
            raise UserError(
                f"{rows.origin}: the languages seem to be swapped. {shares[0][1]:.0%} of the words "
                f"in {languages[0]!r} are {languages[1]!r} in {train.origin}, and "
                f"{shares[0][0]:.0%} are {languages[0]!r}"
            )


def _words(texts):
    return collections.Counter(word for text in texts for word in text.lower().split())


def _share_known(words, known):
    return sum(count for word, count in words.items() if word in known) / words.total()


def _sample(rows, limit, rng):
    if len(rows) <= limit:
        return rows
    return rows.take(sorted(rng.permutation(len(rows))[:limit].tolist()))


def _cut(rows, fraction, rng):
    """Splits rows in two, the second with `fraction` of the sentences."""
    sentences = list(dict.fromkeys(rows.sources))
    if len(sentences) < 2:
        raise UserError(
            f"{rows.origin}: expected two different sentences or more, one of them for validation. "
            f"Received: {len(sentences)}. A file dev.csv would do as well"
        )
    count = min(max(1, round(fraction * len(sentences))), len(sentences) - 1)
    cut = {sentences[index] for index in rng.permutation(len(sentences))[:count]}
    return [
        rows.take([row for row, text in enumerate(rows.sources) if (text in cut) == is_cut])
        for is_cut in (False, True)
    ]


# ------------------------------------------------------------------------------------ toy


def _read_toy():
    train, validation, test = (
        _Rows([pair.source for pair in pairs], [pair.target for pair in pairs], _TOY)
        for pairs in toy_translation.splits()
    )
    about = {"description": toy_translation.DESCRIPTION, "licence": "Apache-2.0, as this project."}
    return {"train": train, "validation": validation, "test": test}, about


# ------------------------------------------------------------------------------------ files


def _read_folder(folder, languages):
    splits = {}
    for part, path in tables.find_splits(folder).items():
        rows = tables.read(path, dict.fromkeys(languages, "text"))
        lines, sources, targets = map(list, zip(*rows, strict=True))
        splits[part] = _Rows(sources, targets, str(path), lines)
    return splits, {
        "description": f"Sentences from the files in {folder.name}.",
        "licence": "As given by those who made the files.",
    }


# ------------------------------------------------------------------------------------ TFDS


def _read_tfds(name, languages, data_dir):
    builder = tfds.open_builder(name, data_dir)
    from tensorflow_datasets import as_numpy
    from tensorflow_datasets import features as kinds

    texts = [key for key, kind in builder.info.features.items() if isinstance(kind, kinds.Text)]
    for flag, language in zip(("--source", "--target"), languages, strict=True):
        if language not in texts:
            raise UserError(
                f"Expected a text named {language!r} ({flag}) in {name}. "
                f"Found: {', '.join(texts) or 'none'} among {', '.join(builder.info.features)}"
            )
    datasets = tfds.load(name, builder, data_dir)
    splits = {}
    for part, names in tables.SPLIT_NAMES.items():
        split = next((split for split in (*names, part) if split in datasets), None)
        if split is None:
            continue
        columns = [[], []]
        for row in as_numpy(datasets[split]):
            for column, language in zip(columns, languages, strict=True):
                column.append(row[language].decode("utf-8", errors="replace"))
        splits[part] = _Rows(*columns, f"{name}, split {split}")
    for part in ("train", "test"):
        if not len(splits.get(part, ())):
            raise UserError(
                f"Expected pairs to {part} in {name}. Its splits: {', '.join(datasets)}"
            )
    return splits, tfds.about(builder)
