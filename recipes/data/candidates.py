"""Queries, each with candidate texts and whether they are right, in files or the toy questions.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)        # train.csv, test.csv: question, answer and label
    rows = data.test.answerable()           # the rows of queries that have a right candidate
    rows.queries, rows.documents, rows.labels, rows.positions, rows.groups()

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import itertools

import numpy as np

from recipes.data import dataset, tables
from recipes.data.toy import questions as toy_questions
from recipes.kit.errors import UserError

# The columns of a query, a candidate and its label, where no flag names them.
LAYOUTS = (("question", "answer", "label"), ("query", "document", "label"))


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Pairs of a query and a candidate; those of a query stand together.

    Attributes:
        queries, documents: Lists of strings.
        labels: int32 array, one a pair: 0 for a wrong candidate, more for a right one.
        positions: int32 array, the candidate's position among those of its query in the file.
    """

    queries: list[str]
    documents: list[str]
    labels: np.ndarray
    positions: np.ndarray | None = None

    def groups(self):
        """For each query an array of its rows."""
        pairs = enumerate(itertools.pairwise(self.queries), start=1)
        starts = [row for row, (before, query) in pairs if before != query]
        return np.split(np.arange(len(self)), starts)

    def answerable(self, *, with_wrong=False):
        """The rows of queries with a right candidate and, if asked for, with a wrong one too."""
        kept = [
            rows
            for rows in self.groups()
            if self.labels[rows].any() and not (with_wrong and self.labels[rows].all())
        ]
        return self.take(np.concatenate([np.zeros(0, int), *kept]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidates(dataset.Dataset):
    """A data set for ranking; its splits keep queries without any right candidate too."""

    plural = "pairs"

    def _details(self):
        counts = [
            f"{len(split.answerable().groups()):,} of {len(split.groups()):,}"
            for split in self.splits.values()
        ]
        return f"; queries with a right candidate: {' / '.join(counts)}"


@dataclasses.dataclass(kw_only=True)
class CandidateReader(dataset.Reader):
    """Reads `Candidates`; arguments as of `load`."""

    split_class, dataset_class = Split, Candidates
    toy, toy_columns = toy_questions, ("query", "document", "label")
    key, key_plural = "queries", "queries"
    limit_note = "only the pairs of up to {limit:,} queries of each split were used"

    query_column: str | None = None
    document_column: str | None = None
    label_column: str | None = None
    right_label: str | None = None

    def __post_init__(self):
        named = [name for name in self._named() if name is not None]
        if len(set(named)) < len(named) or not all(named):
            raise UserError(
                "Expected different columns of query, candidate and label. Received: "
                + " ".join(map(str, named))
            )

    def _named(self):
        return self.query_column, self.document_column, self.label_column

    def columns_of(self, found, *, without_label=False):
        """The names of the columns of query, candidate and label among those that were found."""
        layouts = [
            tuple(name or usual for name, usual in zip(self._named(), layout, strict=True))
            for layout in LAYOUTS
        ]
        needed = 2 if without_label else 3
        return next((names for names in layouts if {*names[:needed]} <= {*found}), layouts[0])

    def read_file(self, path):
        names = self.columns_of(tables.column_names(path))
        self.columns = dict(zip(names, ("text", "text", "value"), strict=True))
        return super().read_file(path)

    def find_features(self, name, features):
        self.columns = self.columns_of(features)
        return super().find_features(name, features)

    def read_toy(self):
        splits, facts = super().read_toy()
        return {part: self._grouped(split) for part, split in splits.items()}, facts

    def make_split(self, columns, **where):
        queries, documents, labels = columns
        return self._grouped(Split(queries, documents, labels, **where))

    def _grouped(self, split):
        """The split with rows of a query together, in the order of the file, and with numbers."""
        labels = np.array([self._label(split, row) for row in range(len(split))], "int32")
        rows_of = {}
        for row, query in enumerate(split.queries):
            rows_of.setdefault(query, []).append(row)
        positions = np.zeros(len(split), "int32")
        for rows in rows_of.values():
            positions[rows] = np.arange(len(rows))
        split = dataclasses.replace(split, labels=labels, positions=positions)
        return split.take([row for rows in rows_of.values() for row in rows])

    def _label(self, split, row):
        """The number of a label as it was read."""
        label = split.labels[row]
        if self.right_label is not None:
            return int(str(label) == self.right_label)
        try:
            if int(label) >= 0:
                return int(label)
        except (TypeError, ValueError):
            pass
        raise UserError(
            f"{split.where(row)}: expected as a label 0 for a wrong candidate and 1 or more for a "
            f"right one, or --right-label. Received: {tables.short(label)}"
        )

    def check(self, splits):
        for split in splits.values():
            for row, texts in enumerate(zip(split.queries, split.documents, strict=True)):
                if not all(text.strip() for text in texts):
                    raise UserError(
                        f"{split.where(row)}: expected a query and a candidate. Received an "
                        "empty one"
                    )
            if not len(split.answerable(with_wrong=True)):
                raise UserError(
                    f"{split.origin}: expected a query with a right and a wrong candidate. "
                    f"Found none among {len(split.groups()):,} queries"
                )
        return splits

    def sample(self, split):
        """The split with all candidates of at most `limit` queries that can be ranked."""
        groups = split.answerable(with_wrong=True).groups()
        if len(split.groups()) <= self.limit:
            return split
        split = split.answerable(with_wrong=True)
        chosen = sorted(self.rng.permutation(len(groups))[: self.limit].tolist())
        return split.take(np.concatenate([groups[index] for index in chosen]))

    def is_needed(self, stratum):
        return stratum  # the others cannot be ranked

    def stratum(self, split, row):
        """A cut takes the same share of the queries with and without a right candidate."""
        return self._has_right[split.queries[row]]

    def groups(self, split):
        self._has_right = dict.fromkeys(split.queries, False)
        self._has_right |= dict.fromkeys(split.answerable(with_wrong=True).queries, True)
        return super().groups(split)


def pairs_of(path, *, query_column=None, document_column=None):
    """The queries and candidates of a table without labels, a `Split` with `lines`."""
    query, document, _ = CandidateReader(
        seed=0, query_column=query_column, document_column=document_column
    ).columns_of(tables.column_names(path), without_label=True)
    rows = list(tables.read(path, {query: "text", document: "text"}))
    lines, queries, documents = map(list, zip(*rows, strict=True))
    order = {query: number for number, query in enumerate(dict.fromkeys(queries))}
    split = Split(queries, documents, np.zeros(len(rows), "int32"), np.zeros(len(rows), "int32"))
    split = dataclasses.replace(split, origin=str(path), lines=lines)
    return split.take(sorted(range(len(rows)), key=lambda row: order[queries[row]]))


def documents_of(path, *, query_column=None, document_column=None):
    """The lines and candidates of a table, whatever else it holds."""
    found = tables.column_names(path)
    usual = [layout[1] for layout in LAYOUTS]
    column = document_column or next((name for name in usual if name in found), usual[0])
    return map(list, zip(*tables.read(path, {column: "text"}), strict=True))


def load(source, **options):
    """Returns the `Candidates` of a source.

    A source without a validation split gets one cut from its training split, with all candidates of
    a query on the same side.

    Args:
        source: `"toy"`; or the path of a folder with `train.*`, `test.*` and perhaps `dev.*`
            (`validation.*`, `valid.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8, with a
            row for each pair; or `"tfds:NAME"`, a set of TensorFlow Datasets with such features.
        query_column, document_column, label_column: Strings, the columns; `None` for `question`,
            `answer` and `label`, or `query`, `document` and `label`, whichever there are.
        right_label: String, the label of a right candidate; `None` where labels are numbers, 0 for
            wrong and more for right.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`; the limit counts queries.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=20)
    >>> rows = data.train.groups()[0]
    >>> len(set(data.train.queries[row] for row in rows)), int(data.train.labels[rows].sum())
    (1, 1)
    """
    return CandidateReader(**options).load(source)
