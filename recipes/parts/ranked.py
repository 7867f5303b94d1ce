"""Exporting what ranks texts for a query, and what it answers: the best lines of a file.

figures = export(model, folder, texts, count=100)
rank = Ranker.load(folder, NAME, "model.tflite")
for row in rank(query, documents)[:10]: ...
"""

import dataclasses
import json

import numpy as np

from recipes.data import candidates, tables
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import UserError, cannot_load
from recipes.text import wordpiece

FORMATS = ("text", "tsv", "jsonl")
FILES = ("vocabulary.txt",)
_BATCH = 64  # texts in one call: a file of many takes little memory


def export(model, folder, texts, *, count):
    """Writes all forms of a model of pairs: of raw texts, and of ids.

    Args:
        model: Keras model of `query`, `document` and perhaps `position` to a dict with `score`.
        folder: Path.
        texts: `recipes.parts.pair_texts.Texts`, on whose test part the forms are compared.
        count: Integer, the number of queries that are compared, at most.

    Returns:
        As `kit.exports.export`; the forms agree where the best candidate of a query is the same.
    """
    import tensorflow as tf

    import keras_attention as ka
    from recipes.data.batches import pad

    rows, ids = texts.rows["test"], texts.ids["test"]
    tokenizer = wordpiece.tokenizer_of(texts.vocabulary)
    pieces = tf.constant(texts.vocabulary)
    has_position = "position" in {tensor.name for tensor in model.inputs}
    position = {"position": ((None, 1), "int32")} if has_position else {}

    def with_two_steps(ids):  # runs of two words need two steps, also in an empty text
        return tf.pad(ids, [[0, 0], [0, tf.maximum(2 - tf.shape(ids)[1], 0)]])

    def read_ids(model, query, document, **position):
        inputs = {"query": with_two_steps(query), "document": with_two_steps(document)}
        return model({**inputs, **position}, training=False)

    def read_text(model, query, document, **position):
        query, document = (tokenizer.tokenize(x).to_tensor() for x in (query, document))
        outputs = read_ids(model, query, document, **position)
        shown = {"query_pieces": query, "document_pieces": document}
        shown = {name: tf.gather(pieces, with_two_steps(x)) for name, x in shown.items()}
        return {**outputs, **shown}

    def samples(as_text):
        for group in rows.groups()[:count]:
            group = group[:32]
            if as_text:
                query, document = (
                    np.array([column[row].encode() for row in group], object)
                    for column in (rows.queries, rows.documents)
                )
            else:
                pairs = [[column[row] for row in group] for column in ids]
                query, document = (pad(x, max(2, *map(len, x))) for x in pairs)
            batch = {"query": query, "document": document}
            yield batch | ({"position": rows.positions[group, None]} if has_position else {})

    def dataset(as_text):
        shape, dtype = ((None,), tf.string) if as_text else ((None, None), tf.int32)
        kind = tf.TensorSpec(shape, dtype)
        spec = {"query": kind, "document": kind}
        if has_position:
            spec["position"] = tf.TensorSpec((None, 1), tf.int32)
        return tf.data.Dataset.from_generator(lambda: samples(as_text), output_signature=spec)

    def best(outputs):
        return np.argmax(outputs["score"])

    text, number = ((None,), "string"), ((None, None), "int32")
    # Candidates of nearly the same score may change places.
    agreements = {"saved_model": 0.98, "tflite": 0.98, "tflite_float16": 0.95, "tflite_int8": None}
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[
            ka.Signature(
                "text", read_text, {"query": text, "document": text, **position}, dataset(True),
                resources=[tokenizer], text=True, decision=best,
            ),
            ka.Signature(
                "ids", read_ids, {"query": number, "document": number, **position}, dataset(False),
                decision=best,
            ),
        ],
        bounds={
            form: {"difference": None if agreement is None else 1e-2, "agreement": agreement}
            for form, agreement in agreements.items()
        },
        files={"vocabulary.txt": texts.vocabulary},
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Match:
    """A ranked text.

    Attributes:
        number: Integer, its line among the given texts, from 1.
        document: String.
        score: Float.
        words: List of a word of the text, the word of the query that it looks at most, and the
            weight of that.
    """

    number: int
    document: str
    score: float
    words: list


@dataclasses.dataclass(frozen=True)
class Ranker:
    """An exported model of pairs, to be called with a query and a list of texts."""

    tokenizer: object
    vocabulary: list
    run: object

    @classmethod
    def load(cls, folder, recipe, file):
        """Loads the form in `file` of a run folder of a recipe.

        Raises:
            UserError: If there is no such run or a part of it cannot be read.
        """
        run_folder.find_run(folder, recipe=recipe, files=[file, *FILES])
        try:
            vocabulary = (folder / FILES[0]).read_text(encoding="utf-8").split("\n")[:-1]
            tokenizer = wordpiece.tokenizer_of(vocabulary)
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_load(folder / FILES[0], error) from error
        run = exports.runner(folder / file, "text", operators=wordpiece.operators())
        return cls(tokenizer, vocabulary, run)

    def __call__(self, query, documents):
        """The `Match`es of all texts, the best first; of equal ones the first."""
        matches = []
        for start in range(0, len(documents), _BATCH):
            texts = documents[start : start + _BATCH]
            inputs = {
                "query": np.array([query.encode()] * len(texts), object),
                "document": np.array([text.encode() for text in texts], object),
            }
            if "position" in self.run.shapes:
                inputs["position"] = np.arange(start, start + len(texts), dtype="int32")[:, None]
            outputs = self.run(**inputs)
            for row, text in enumerate(texts):
                words = self._words(query, text, outputs["weights"][row])
                matches.append(Match(1 + start + row, text, float(outputs["score"][row, 0]), words))
        return sorted(matches, key=lambda match: -match.score)

    def _words(self, query, document, weights):
        """For each word of a text the one of the query that it looks at most."""
        asked, columns = self._spans(query)
        told, rows = self._spans(document)
        columns = [column for column in columns if column < weights.shape[1]]
        rows = [row for row in rows if row < weights.shape[0]]
        if not rows or not columns:
            return []
        weights = np.add.reduceat(weights, columns, axis=1)
        pairs = []
        for (start, end), row in zip(told, rows, strict=False):  # a word's first piece
            best = int(np.argmax(weights[row, : len(columns)]))
            first, last = asked[best]
            pairs.append(
                (document[start:end], query[first:last], round(float(weights[row, best]), 4))
            )
        return pairs

    def _spans(self, text):
        """Spans of a text's words in characters, and the position of each one's first piece."""
        ids, pieces = wordpiece.piece_spans(self.tokenizer, text)
        starts = [n for n, x in enumerate(ids) if n == 0 or self.vocabulary[x][:2] != "##"]
        ends = [*starts[1:], len(ids)]
        spans = [(pieces[a][0], pieces[b - 1][1]) for a, b in zip(starts, ends, strict=True)]
        return spans, starts


def answer(config, rank):
    """Prints the best texts for a query, or for each query of a table.

    Args:
        config: A `PredictConfig` of the recipe.
        rank: A `Ranker`.

    Raises:
        UserError: If there is no query or no text, or a file cannot be read.
    """
    if config.format == "tsv":
        print("query", "rank", "line", "score", "text", sep="\t")
    for query, lines, documents in _given(config):
        matches = rank(query, documents)[: config.top]
        matches = [dataclasses.replace(match, number=lines[match.number - 1]) for match in matches]
        _WRITERS[config.format](query, matches, len(config.query) == 0)


def _given(config):
    """Yields each query with its texts, and with the line of each in its file."""
    is_table = config.file is not None and tables.is_table(config.file)
    if len(config.query) > 1:
        raise UserError(
            f"Expected one query, in quotes if it has spaces. Received: {' '.join(config.query)}"
        )
    if not config.query and not is_table:
        raise UserError("Expected a query, or a table of queries and candidates in --file")
    if not config.query:
        split = flags.call(candidates.pairs_of, config, config.file)
        for rows in split.groups():
            lines, documents = (
                [column[row] for row in rows] for column in (split.lines, split.documents)
            )
            yield split.queries[rows[0]], lines, documents
        return
    (query,) = flags.given_or_read(config.query, None, "a query")
    if not query.strip():
        raise UserError("Expected a query. Received an empty one")
    if is_table:
        lines, documents = flags.call(candidates.documents_of, config, config.file)
    else:
        documents = flags.given_or_read((), config.file, "texts to rank")
        kept = [number for number, text in enumerate(documents) if text.strip()]
        lines, documents = [1 + n for n in kept], [documents[n] for n in kept]
    yield query, lines, documents


def _write_text(query, matches, has_many):
    if has_many:
        print(query)
    for rank, match in enumerate(matches, start=1):
        print(f"{rank:2}. {match.score:7.3f}  {' '.join(match.document.split())}", flush=True)


def _write_tsv(query, matches, has_many):
    for rank, match in enumerate(matches, start=1):
        query, text = (" ".join(x.split()) for x in (query, match.document))
        print(query, rank, match.number, f"{match.score:.6f}", text, sep="\t", flush=True)


def _write_jsonl(query, matches, has_many):
    found = [
        {
            "line": match.number,
            "score": round(match.score, 6),
            "text": match.document,
            "words": match.words,
        }
        for match in matches
    ]
    print(json.dumps({"query": query, "matches": found}, ensure_ascii=False), flush=True)


_WRITERS = {"text": _write_text, "tsv": _write_tsv, "jsonl": _write_jsonl}
