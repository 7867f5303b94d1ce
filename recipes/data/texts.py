"""Labelled texts from files, from TensorFlow Datasets, or from the toy grammar, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)            # train.csv, test.csv and perhaps dev.csv in it
    data = load("tfds:imdb_reviews", seed=0)
    data.train.texts, data.train.labels, data.labels

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import types

import numpy as np

from recipes.data import dataset, tfds
from recipes.data.labels import LabelledDataset, LabelledReader
from recipes.data.toy import reviews as toy_reviews
from recipes.kit.errors import UserError


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Texts and, for each, the index of its label in `LabelledTexts.labels`."""

    texts: list[str]
    labels: np.ndarray  # int32, one a text


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledTexts(LabelledDataset):
    """A data set for the classification of texts; attributes as of `LabelledDataset`."""

    plural = "texts"


@dataclasses.dataclass(kw_only=True)
class TextReader(LabelledReader):
    """Reads `LabelledTexts`; arguments as of `load`."""

    split_class, dataset_class = Split, LabelledTexts
    toy_columns = ("text", "label")
    key = "texts"

    text_column: str = "text"
    label_column: str = "label"
    toy: types.ModuleType = toy_reviews

    def __post_init__(self):
        columns = self._text_columns()
        if not all(columns) or len({*columns, self.label_column}) <= len(columns):
            raise UserError(
                "Expected different columns of text and label. Received: "
                f"--text-column {self.text_column} --label-column {self.label_column}"
            )

    @property
    def columns(self):
        return {**dict.fromkeys(self._text_columns(), "text"), self.label_column: "value"}

    def _text_columns(self):
        return names_of(self.text_column)

    def make_split(self, columns, **where):
        """A text of several columns, such as a title and a description, has paragraphs of them."""
        *parts, labels = columns
        return Split([joined(row) for row in zip(*parts, strict=True)], labels, **where)

    def find_features(self, name, features):
        text_features = tfds.find_texts(name, features, self._text_columns())
        label_feature = tfds.find_label(name, features, self.label_column)
        if len(text_features) > 1:
            self.notes.append(f"a text is its {' and its '.join(text_features)}")
        return {key: features[key] for key in (*text_features, label_feature)}


def names_of(text_column):
    """The names of columns in the value of `--text-column`."""
    return [name.strip() for name in text_column.split(",")]


def joined(parts):
    """The text of a row's columns: paragraphs, where there are several."""
    if len(parts) == 1:
        return parts[0]
    return "\n\n".join(part for part in parts if part.strip())


def load(source, **options):
    """Returns the `LabelledTexts` of a source.

    A source without a validation split gets one cut from its training split: the same share of
    each label, and all copies of a text on the same side.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, any set of TensorFlow Datasets that has a text or several
            and a class label; or the path of a folder with `train.*`, `test.*` and perhaps `dev.*`
            (`validation.*`, `valid.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8, with
            named columns. csv is quoted as usual; tsv knows no quotes. An empty text is a text.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.
        text_column: String, the column with the text; or several, such as `"title,description"`,
            whose texts are joined with an empty line between. A set of TensorFlow Datasets
            without it is read by all the texts that it has.
        label_column: String, the column with the label, a string or an integer. Spaces around it
            are dropped.
        toy: The module of the toy texts: `splits()` gives those to train, validate and test, each
            with a `text` and a `label`, and `DESCRIPTION` says what they are.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> data.labels, len(data.train), data.train.labels.dtype
    (['negative', 'positive'], 100, dtype('int32'))
    """
    return TextReader(**options).load(source)
