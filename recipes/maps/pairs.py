"""Attention maps of models of pairs of texts, to be tested; see `kit.explaining`.

Which candidate answers a query is the decision: the probabilities are the softmax of the scores of
a query's candidates. What is removed are words of the query, by how much the words of the best
candidate looked at them.
"""

import dataclasses

import numpy as np

from recipes.data import candidates
from recipes.kit import explaining, flags, run_folder
from recipes.maps.arrays import softmax, width_of
from recipes.text import wordpiece

CANDIDATES = 10  # of a query, those of the highest scores
_STEP = 16  # widths that texts are padded to are multiples of it


def write(config, recipe, config_class):
    """Tests the maps of a trained ranker and writes a page; arguments as of `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(candidates.CandidateReader, settings).load(settings.data)
        from recipes.parts import pair_models, shared_words  # noqa: F401  (its layers)

        vocabulary = run_folder.read_lines(folder / "vocabulary.txt")
        model = run_folder.load_model(folder)
        return maps_of(settings, model, data.test.answerable(), vocabulary)

    explaining.write(config, recipe, config_class, of_folder, ["vocabulary.txt"])


def maps_of(config, model, split, vocabulary):
    """The maps of `config.explained` test queries: of their words.

    Args:
        config: A `recipes.text_matching.Config`.
        model: Keras model from `query`, `document` and perhaps `position` to a dict of `score`
            `(B, 1)` and `weights` `(B, S, T)`.
        split: `recipes.data.candidates.Split`.
        vocabulary: List of word pieces.

    Returns:
        List of `explaining.Maps`, empty for a model without weights.
    """
    groups = [rows for rows in split.groups() if len(rows) > 1]
    groups = [groups[number] for number in explaining.chosen(config.explained, len(groups))]
    if not groups or "weights" not in model.output:
        return []
    tokenizer = wordpiece.tokenizer_of(vocabulary)
    reader = _Reader(model, config.max_steps, config.position)
    read = [_Query.of(split, rows, tokenizer, vocabulary, config.max_steps) for rows in groups]
    read = [query for query in read if query.spans]
    queries, rows, shown, headings = [], [], [], []
    for query in read:
        scores, weights = reader([query])
        best = np.argsort(-scores, kind="stable")[:CANDIDATES]
        queries.append(query.of_candidates(best))
        is_word = queries[-1].documents[0] > 0
        of_piece = weights[best[0]][: len(is_word)][is_word].mean(axis=0)[: len(query.ids)]
        rows.append(np.bincount(query.words, of_piece))
        shown.append((query.text, query.spans))
        headings.append(split.documents[query.rows[best[0]]])
    weights, mask = explaining.of_parts(rows)

    def remove(queries, keep):
        return [query.kept(row) for query, row in zip(queries, keep, strict=True)]

    options = {"remove": remove, "mask": mask, "batch_size": 8}
    note = f", the best {CANDIDATES} candidates of each query"
    return [
        explaining.Maps(
            reader.probabilities, queries, weights, "word", shown, headings, options, note
        )
    ]


@dataclasses.dataclass(frozen=True)
class _Query:
    """A query with its candidates.

    Attributes:
        text: String, the query.
        rows: Integers, the candidates' rows in the split.
        ids: int32 array `(T,)`, the query's pieces.
        words: Integers `(T,)`, the word of each piece.
        spans: List of the `(start, end)` of each word.
        documents: List of int32 arrays, the candidates' pieces.
        positions: int32 array, the candidates' positions.
    """

    text: str
    rows: np.ndarray
    ids: np.ndarray
    words: np.ndarray
    spans: list
    documents: list
    positions: np.ndarray

    @classmethod
    def of(cls, split, rows, tokenizer, vocabulary, max_steps):
        text = split.queries[rows[0]]
        ids, pieces = wordpiece.piece_spans(tokenizer, text)
        words, spans = wordpiece.words_of(vocabulary, ids[:max_steps], pieces[:max_steps])
        documents = wordpiece.tokenize(tokenizer, [split.documents[row] for row in rows])
        documents = [document[:max_steps] for document in documents]
        positions = split.positions[rows]
        return cls(text, rows, ids[:max_steps], words, spans, documents, positions)

    def of_candidates(self, numbers):
        """The same with some of the candidates."""
        return dataclasses.replace(
            self,
            documents=[self.documents[number] for number in numbers],
            positions=self.positions[numbers],
        )

    def kept(self, keep):
        """The same with the words alone for which `keep` is True."""
        is_kept = keep[self.words]
        return dataclasses.replace(self, ids=self.ids[is_kept], words=self.words[is_kept])


class _Reader:
    """The model, asked about whole queries."""

    def __init__(self, model, max_steps, with_position):
        self._model, self._max_steps, self._with_position = model, max_steps, with_position

    def __call__(self, queries):
        """The scores `(N,)` of all pairs and their weights `(N, S, T)`."""
        from recipes.data.batches import pad

        asked = [query.ids for query in queries for _ in query.documents]
        documents = [document for query in queries for document in query.documents]
        inputs = {
            name: pad(rows, width_of(rows, _STEP))
            for name, rows in (("query", asked), ("document", documents))
        }
        if self._with_position:
            inputs["position"] = np.concatenate([query.positions for query in queries])[:, None]
        outputs = self._model.predict_on_batch(inputs)
        return outputs["score"][:, 0], outputs["weights"]

    def probabilities(self, queries):
        """The softmax of the scores of each query's candidates, `(B, CANDIDATES)`."""
        scores, _ = self(queries)
        ends = np.cumsum([len(query.documents) for query in queries])
        found = np.full((len(queries), CANDIDATES), -np.inf)
        for row, own in zip(found, np.split(scores, ends[:-1]), strict=True):
            row[: len(own)] = own
        return softmax(found)
