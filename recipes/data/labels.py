"""What all data sets with a label for each row share: numbers for labels, and shares kept."""

import dataclasses
import json
import re

import numpy as np

from recipes.data import dataset, tables
from recipes.kit.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledDataset(dataset.Dataset):
    """A data set for classification: its splits have a column `labels`, int32 indices.

    Attributes:
        labels: List of strings, the names of the classes in order: by number if all are numbers,
            else by alphabet.
    """

    labels: list[str]

    def _contents(self):
        yield json.dumps(self.labels).encode()
        for split in self.splits.values():
            yield split.labels.tobytes()
            for name, column in split.columns.items():
                if name != "labels":
                    yield from dataset.bytes_of(column)

    def _details(self):
        shown = ", ".join(self.labels[:8]) + (", ..." if len(self.labels) > 8 else "")
        return f"; {len(self.labels)} labels: {shown}"


@dataclasses.dataclass(kw_only=True)
class LabelledReader(dataset.Reader):
    """Reads rows with a label. A sample and a cut keep the share of each label.

    While rows are read, the column `labels` holds names.
    """

    tfds_contents = "labelled {plural} to {part}"

    @property
    def rng(self):
        """A new generator for each draw: what is drawn from a split depends on no other split."""
        return np.random.default_rng(self.seed)

    def check(self, splits):
        """Checks that there are two labels or more, and no others outside the training split."""
        train = splits["train"]
        for row, label in enumerate(train.labels):
            if len(label.splitlines()) > 1:  # files with a label per line could not hold it
                raise UserError(
                    f"{train.where(row)}: expected a label of one line. "
                    f"Received: {tables.short(label)}"
                )
        self.labels = sorted(set(train.labels), key=_order(train.labels))
        if len(self.labels) < 2:
            raise UserError(
                f"Expected two labels or more in {train.origin}. Received only: {self.labels[0]}"
            )
        self.notes += alike(self.labels)
        for part in ("validation", "test"):
            if part in splits:
                self._check_labels_known(splits[part], train.origin)
        if self.limit is not None and self.limit < 2 * len(self.labels):
            raise UserError(
                f"--limit must leave two {self.plural} of each of the {len(self.labels)} "
                f"labels. Received: {self.limit}"
            )
        return splits

    def _check_labels_known(self, split, train_origin):
        known = set(self.labels)
        for row, label in enumerate(split.labels):
            if label not in known:
                raise UserError(
                    f"{split.where(row)}: expected a label that occurs in {train_origin}. "
                    f"Received: {tables.short(label)}"
                )

    def stratum(self, split, row):
        return split.labels[row]

    def sample(self, split):
        """At most `limit` rows: two of each label if it has them, then its share."""
        if len(split) <= self.limit:
            return split
        ranked = []
        for groups in self.groups(split).values():
            rows = [group[0] for group in groups]  # copies are no use in a quick look
            ranked += [(0 if rank < 2 else rank / len(rows), row) for rank, row in enumerate(rows)]
        return split.take(sorted(row for _, row in sorted(ranked)[: self.limit]))

    def build(self, splits, **facts):
        """Numbers the labels."""
        number = {label: index for index, label in enumerate(self.labels)}
        numbered = {
            part: dataclasses.replace(
                split, labels=np.array([number[label] for label in split.labels], np.int32)
            )
            for part, split in splits.items()
        }
        return super().build(numbered, labels=self.labels, **facts)


def alike(labels):
    """A note for each two labels that differ in upper and lower case alone."""
    first, notes = {}, []
    for label in labels:
        other = first.setdefault(label.casefold(), label)
        if other != label:
            notes.append(
                f"{tables.short(other)} and {tables.short(label)} are two labels, as upper and "
                "lower case differ"
            )
    return notes


def _order(labels):
    if all(re.fullmatch(r"-?\d+(\.\d+)?", label) for label in set(labels)):
        return lambda label: (float(label), label)
    return lambda label: label
