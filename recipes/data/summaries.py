"""Documents and their summaries from files, TensorFlow Datasets or the toy reports.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)        # train.csv, test.csv: columns document and summary
    data = load("tfds:samsum", seed=0)
    data.test.documents, data.test.summaries        # of each document a tuple of references

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses

from recipes.data import dataset, tables, tfds
from recipes.data.toy import reports as toy_reports
from recipes.kit.errors import UserError

# Columns of a document and its summary, where no flag names them.
LAYOUTS = (
    ("document", "summary"),
    ("dialogue", "summary"),
    ("dialogue", "summaries"),
    ("article", "highlights"),
)
# Of all rows, how many may have nothing on one side.
_EMPTY = 0.01


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Documents and their summaries.

    Attributes:
        documents: List of strings.
        summaries: List of tuples of strings, the references of each document.
    """

    documents: list[str]
    summaries: list[tuple[str, ...]]

    def pairs(self):
        """Two lists: for each reference the number of its document, and its text."""
        rows = [(row, text) for row, texts in enumerate(self.summaries) for text in texts]
        return [row for row, _ in rows], [text for _, text in rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summaries(dataset.Dataset):
    """A data set for summarization."""

    plural = "documents"

    def _details(self):
        counts = sorted({len(texts) for texts in self.test.summaries})
        if counts == [1]:
            return ""
        return f"; {' or '.join(map(str, counts))} references of each test document"


@dataclasses.dataclass(kw_only=True)
class SummaryReader(dataset.Reader):
    """Reads `Summaries`; arguments as of `load`."""

    split_class, dataset_class = Split, Summaries
    toy, toy_columns = toy_reports, ("document", "summary")
    key = "documents"

    document_column: str | None = None
    summary_column: str | None = None

    def columns_of(self, found):
        """The column of the document, and the list of those of its summaries."""
        named = self.document_column, self.summary_column
        layouts = [
            [own or usual for own, usual in zip(named, layout, strict=True)] for layout in LAYOUTS
        ]
        layouts = [(document, summary.split(",")) for document, summary in layouts]
        fitting = (layout for layout in layouts if {layout[0], *layout[1]} <= {*found})
        return next(fitting, layouts[0])

    def read_file(self, path):
        document, references = self.columns_of(tables.column_names(path))
        self.columns = {document: "text", **dict.fromkeys(references, "texts")}
        if len(self.columns) <= len(references):
            raise UserError(
                "Expected different columns of documents and summaries. Received: "
                f"{document} and {','.join(references)}"
            )
        return super().read_file(path)

    def find_features(self, name, features):
        document, references = self.columns_of(features)
        self.columns = [document, *references]
        return tfds.require_features(name, features, self.columns)

    def make_split(self, columns, **where):
        documents, *references = columns
        joined = [
            # In order, each once, without what is empty.
            tuple(dict.fromkeys(text for one in row for text in _listed(one) if text.strip()))
            for row in zip(*references, strict=True)
        ]
        return Split(documents, joined, **where)

    def read_toy(self):
        splits, facts = super().read_toy()
        own = {
            part: dataclasses.replace(split, summaries=[(text,) for text in split.summaries])
            for part, split in splits.items()
        }
        return own, facts

    def check(self, splits):
        return {part: self._without_empty(split) for part, split in splits.items()}

    def _without_empty(self, split):
        """The rows with a document and a summary; a note tells how many were left out."""
        rows = list(zip(split.documents, split.summaries, strict=True))
        empty = [row for row, (text, known) in enumerate(rows) if not text.strip() or not known]
        if not empty:
            return split
        if len(empty) > _EMPTY * len(split):
            what = "summary" if split.documents[empty[0]].strip() else "document"
            raise UserError(
                f"{split.where(empty[0])}: expected a {what}. Received an empty one, as "
                f"{len(empty):,} of {len(split):,} rows have on one side"
            )
        self.notes.append(
            f"{len(empty):,} rows of {split.origin} without a document or a summary were left out"
        )
        return split.take(sorted({*range(len(split))} - {*empty}))


def _listed(value):
    return [value] if isinstance(value, str) else value


def load(source, **options):
    """Returns the `Summaries` of a source.

    A source without a validation split gets one cut from its training split. Rows with nothing on
    one side are left out and counted; more than one in a hundred are an error.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets; or the path of a folder
            with `train.*`, `test*.*` and perhaps `dev.*` (`val.*`, `valid.*`, `validation.*`), each
            csv, tsv or jsonl, plain or `.gz`, in UTF-8.
        document_column: String, the column of the document; by default that of the first of
            `LAYOUTS` whose columns are there.
        summary_column: String, likewise; several, set apart by commas, hold a reference each. In
            jsonl a column may also hold a list of references.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> len(data.train), data.train.summaries[0]
    (100, ('Nagino praised Mobiku.',))
    """
    return SummaryReader(**options).load(source)
