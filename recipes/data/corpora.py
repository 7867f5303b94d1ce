"""Documents for language models from files, TensorFlow Datasets or toy data.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)            # train.txt, and valid.txt or test.txt
    data = load("tfds:tiny_shakespeare", seed=0)
    data.train.texts

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses

from recipes.data import dataset, tables, tfds
from recipes.data.toy import echoes
from recipes.kit.errors import UserError

_WANTED = "train.txt and valid.txt or test.txt"


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Documents, each one a text with all its spaces and line ends."""

    texts: list[str]

    @property
    def characters(self):
        """Integer, the characters of all documents."""
        return sum(map(len, self.texts))

    @property
    def words(self):
        """Integer, the words of all documents, parted by spaces and line ends."""
        return sum(len(text.split()) for text in self.texts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus(dataset.Dataset):
    """A data set for language modelling: its examples are characters."""

    plural = "documents"

    @property
    def examples(self):
        return self.train.characters

    @property
    def sizes(self):
        return {part: split.characters for part, split in self.splits.items()}

    def _details(self):
        characters = " / ".join(f"{size:,}" for size in self.sizes.values())
        return f", of {characters} characters"


@dataclasses.dataclass(kw_only=True)
class CorpusReader(dataset.Reader):
    """Reads a `Corpus`; arguments as of `load`."""

    split_class, dataset_class = Split, Corpus
    toy, toy_columns = echoes, ("text",)
    key = "texts"
    validation_hint = "A file valid.txt would do as well"

    text_column: str = "text"

    def __post_init__(self):
        self.characters, self.limit = self.limit, None  # of the base class it would be documents

    @property
    def key_plural(self):
        return self.plural

    @property
    def columns(self):
        return {self.text_column: "text"}

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        found = {part: _find(folder, names) for part, names in tables.SPLIT_NAMES.items()}
        if not found["train"] or not (found["validation"] or found["test"]):
            raise UserError(
                f"Expected {_WANTED} (or folders of these names with .txt files, or csv, tsv or "
                f"jsonl files with a column {self.text_column!r}; also .gz) in {folder}. "
                f"Found: {tables.listing(folder)}"
            )
        splits = {part: self.read_file(path) for part, path in found.items() if path}
        return splits, self.folder_facts(folder)

    def read_file(self, path):
        """Documents: the rows of a table, the files of a folder, or one text file."""
        if tables.is_table(path):
            return super().read_file(path)
        paths = [path]
        if path.is_dir():
            paths = sorted(one for one in path.iterdir() if _parts(one)[1] == "txt")
        if not paths:
            raise UserError(f"Expected .txt files in {path}. Found: {tables.listing(path)}")
        return Split([tables.read_text(one) for one in paths], origin=str(path))

    def find_features(self, name, features):
        column = tfds.find_texts(name, features, [self.text_column])[0]
        return {column: features[column]}

    def check(self, splits):
        for part, split in splits.items():
            filled = [row for row, text in enumerate(split.texts) if text]
            if not filled:
                raise UserError(f"{split.origin}: expected a text. Received an empty one")
            splits[part] = self._shortened(split.take(filled))
        if "test" not in splits:
            splits["test"] = splits["validation"]
            self.notes.append(
                "there is no test split: the figures are of the validation text, by which the "
                "epoch to keep was chosen"
            )
        return splits

    def _shortened(self, split):
        """The first `limit` characters of a split."""
        if self.characters is None or split.characters <= self.characters:
            return split
        note = f"only up to {self.characters:,} characters of each split were used"
        if note not in self.notes:
            self.notes.append(note)
        left, texts = self.characters, []
        for text in split.texts:
            texts.append(text[:left])
            left -= len(texts[-1])
            if not left:
                break
        return dataclasses.replace(split, texts=texts, lines=None)

    def cut(self, split):
        """Of one document its end is the second split, else some of the documents are."""
        if len(split) > 1:
            return super().cut(split)
        (text,) = split.texts
        at = len(text) - max(1, round(self.validation_fraction * len(text)))
        at = text.rfind("\n", 0, at) + 1 or at  # at the end of a line, if there is one
        return tuple(dataclasses.replace(split, texts=[part]) for part in (text[:at], text[at:]))

    def _note_overlap(self, train, validation, test):
        if test is not validation:
            super()._note_overlap(train, validation, test)


def _find(folder, names):
    """The file or the folder of a split, `None` if there is none."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if (path.is_dir() and path.name in names)
        or (_parts(path)[0] in names and _parts(path)[1] in ("txt", *tables.FORMATS))
    ]
    if len(found) > 1:
        raise UserError(f"Expected one of {found[0]} and {found[1].name}. Received both")
    return found[0] if found else None


def _parts(path):
    """The name of a file and its ending, without `.gz`."""
    stem, _, ending = path.name.removesuffix(".gz").rpartition(".")
    return stem, ending


def load(source, **options):
    """Returns the `Corpus` of a source.

    A source without a validation split gets one cut from its training split: of one document its
    end, else some documents. One without a test split is measured on its validation split, which a
    note says.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with a text; or the path of
            a folder with a training split and one to validate or test on, named `train`, `valid`
            (`dev`, `val`, `validation`) and `test`. Each is a file `.txt`, which is one document as
            it stands, with its blank lines; a folder of such files, a document each; or csv, tsv or
            jsonl with a document per row. All but folders may be `.gz`. UTF-8.
        limit: Integer or None, at most so many characters of each split, from its start.
        text_column: String, the column of tables, or the feature, that holds the text.
        seed, validation_fraction, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=2000)
    >>> data.examples, data.train.characters, data.train.texts[0][:13]
    (2000, 2000, 'ggaeihgehfjd\\n')
    """
    return CorpusReader(**options).load(source)
