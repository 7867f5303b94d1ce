"""Batches of queries with all of their candidates."""

import numpy as np

from recipes.data.batches.base import Batches, pad


class CandidateBatches(Batches):
    """Queries with all of their candidates, for losses that rank.

    Args:
        queries, documents: Lists of int32 arrays, the ids of each pair's texts.
        split: `recipes.data.candidates.Split` of the pairs.
        batch_size: Integer, queries in a batch.
        max_steps: Integer, steps of a text that are read.
        with_position: Boolean, whether a batch has the candidates' positions.
        **options: As for `Batches`.

    Each batch is `({"query": (B, T), "document": (B, S)}, targets)`, perhaps with `position`
    `(B, 1)`; the targets `(B, 2)` are a pair's label and the number of its query in the batch.
    """

    def __init__(
        self, queries, documents, split, batch_size, *, max_steps, with_position=False, **options
    ):
        self._with_position = with_position
        self._queries, self._documents = (
            [row[:max_steps] for row in rows] for rows in (queries, documents)
        )
        self._split, self._groups = split, split.groups()
        self._query_width = max(2, *map(len, self._queries))  # one for all: they are short
        lengths = [max(2, *(len(self._documents[row]) for row in rows)) for rows in self._groups]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, numbers, width):
        groups = [self._groups[number] for number in numbers]
        rows = np.concatenate(groups)
        inputs = {
            "query": pad([self._queries[row] for row in rows], self._query_width),
            "document": pad([self._documents[row] for row in rows], width),
        }
        if self._with_position:
            inputs["position"] = self._split.positions[rows, None]
        number_in_batch = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        targets = np.stack([self._split.labels[rows], number_in_batch], axis=1)
        return inputs, targets.astype("float32")

    def scores(self, score):
        """The score of each pair, `(N,)`, by a function of a batch's inputs to `(B, 1)`."""
        scores = np.zeros(len(self._split), "float32")
        for numbers, width in self._batches:
            rows = np.concatenate([self._groups[number] for number in numbers])
            scores[rows] = np.asarray(score(self._arrays(numbers, width)[0]))[:, 0]
        return scores
