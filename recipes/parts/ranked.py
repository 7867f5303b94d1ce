"""Exporting what ranks texts for a query, and what it answers: the best lines of a file.

figures = export(model, folder, texts, config)
rank = Ranker.load(folder, "model.tflite")
for row in rank(query, documents)[:10]: ...
"""

import dataclasses
import json

import numpy as np

from recipes.baselines import matching
from recipes.data import candidates, tables
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import UserError, cannot_load
from recipes.text import wordpiece

SIDES = ("query", "document")  # the two texts of a pair
FORMATS = ("text", "tsv", "jsonl")
FILES = ("vocabulary.txt",)
BOUNDS = {  # candidates of nearly the same score may change places
    "saved_model": {"difference": 1e-2, "agreement": 0.98},
    "tflite": {"difference": 1e-2, "agreement": 0.98},
    "tflite_float16": {"difference": 1e-2, "agreement": 0.95},
    "tflite_int8": {"difference": None, "agreement": None},
}
_BATCH = 64  # texts in one call: a file of many takes little memory


def card(config):
    """The words of the model card of a model of pairs, for the recipe's `Config`."""
    position = "knows" if config.position else "does not know"
    weights = "how much it looked at each of the query; they sum to one"
    if config.architecture == "abcnn":
        weights = (
            "how much it is like each of the query; they sum to one. They are for the eye: the "
            "score comes from the same likeness, before it becomes weights"
        )
    others = "it knows whether both texts have them" if config.overlap else "it knows nothing"
    given = "raw texts, `query` and `document`"
    if config.position:
        given += ", and `position`, that of the document among those of its query, from 0"
    return {
        "What it does": (
            "Scores a text for a query: among the candidates of one query, the higher the better. "
            "Scores of different queries cannot be compared. `weights` tells for each word of the "
            f"text {weights}."
        ),
        "How it was measured": (
            f"{matching.PROTOCOL} The model {position} a candidate's position among those of its "
            "query, which is often that in a document."
        ),
        "Limits": (
            "It finds the best of the candidates, and not whether any of them answers the query. "
            f"Of a text it reads the first {config.max_steps} word pieces. It learned words from "
            f"its training texts alone: of others {others}. A weight tells which words were "
            "compared, not why a text was chosen."
        ),
        "How to use": (
            '    python -m recipes.text_matching predict FOLDER "a question" --file FILE\n\n'
            f"`model.tflite` has two signatures: `text` takes pairs of {given}, and needs "
            "tensorflow-text's operators; `ids` takes their word pieces and runs in any "
            "interpreter, with `vocabulary.txt` in the file itself (a TFLite file is also a zip "
            "archive). `saved_model` loads after `import tensorflow_text`."
            + exports.OF_IDS_ALONE
            * (not config.text_signature)
        ),
    }


def export(model, folder, texts, config):
    """Writes all forms of a model of pairs: of raw texts, and of ids.

    Args:
        model: Keras model of `query`, `document` and perhaps `position` to a dict with `score`.
        folder: Path.
        texts: `recipes.parts.pair_texts.Texts`, on whose test part the forms are compared.
        config: The recipe's `Config`, which tells how many queries are compared.

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
        for group in rows.groups()[: config.parity_queries]:
            group = group[:32]
            if as_text:
                query, document = (
                    strings(column[row] for row in group)
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
        bounds=BOUNDS,
        files={"vocabulary.txt": texts.vocabulary},
        text_signature=config.text_signature,
    )  # fmt: skip


def strings(texts):
    """Texts as TensorFlow takes them, an array of bytes."""
    return np.array([text.encode() for text in texts], object)


def with_two_steps(ids):
    """Ids `(B, T)` of at least two steps, which runs of two words need, also in an empty text."""
    import tensorflow as tf

    return tf.pad(ids, [[0, 0], [0, tf.maximum(2 - tf.shape(ids)[1], 0)]])


@dataclasses.dataclass(frozen=True)
class Match:
    """A ranked text.

    Attributes:
        number: Integer, its line among the given texts, from 1.
        document: String.
        score: Float.
        words: List of a word of the text, the word of the query that it attends to most, and the
            weight of that; or, of an encoder, of a word of the text and its weight.
    """

    number: int
    document: str
    score: float
    words: list


@dataclasses.dataclass(frozen=True)
class Words:
    """The vocabulary of a run folder, and where the words of a text stand in its pieces."""

    tokenizer: object
    vocabulary: list

    @classmethod
    def load(cls, folder):
        """Raises `UserError` if the file cannot be read."""
        vocabulary = run_folder.read_lines(folder / FILES[0])
        try:
            return cls(wordpiece.tokenizer_of(vocabulary), vocabulary)
        except (ValueError, RuntimeError) as error:
            raise cannot_load(folder / FILES[0], error) from error

    def spans(self, text, length):
        """Words that begin in the first `length` pieces, and the position of their first pieces."""
        ids, pieces = wordpiece.piece_spans(self.tokenizer, text)
        starts = [n for n, x in enumerate(ids) if n == 0 or self.vocabulary[x][:2] != "##"]
        ends = [*starts, len(ids)][1:]
        words = [text[pieces[a][0] : pieces[b - 1][1]] for a, b in zip(starts, ends, strict=True)]
        starts = [start for start in starts if start < length]
        return words[: len(starts)], starts


@dataclasses.dataclass(frozen=True)
class Ranker:
    """An exported model of pairs, to be called with a query and a list of texts."""

    words: Words
    run: object

    @classmethod
    def load(cls, folder, file):
        """Loads the form in `file` of a run folder, or raises `UserError`."""
        words = Words.load(folder)
        names = {"query": "query", "document": "document"}
        run = wordpiece.runner(folder / file, words.tokenizer, ("text", "ids"), names)
        return cls(words, run)

    def __call__(self, query, documents, top=None):
        """The `Match`es of the best texts, the best first; of equal ones the first."""
        matches = []
        for start in range(0, len(documents), _BATCH):
            texts = documents[start : start + _BATCH]
            outputs = self._read(query, texts, start)
            for row, text in enumerate(texts):
                words = _strongest(*self._by_words(query, text, outputs["weights"][row]))
                matches.append(Match(1 + start + row, text, float(outputs["score"][row, 0]), words))
        return sorted(matches, key=lambda match: -match.score)[:top]

    def alignment(self, query, document):
        """By which weights the words of a text attend to those of the query.

        Returns:
            The weights, the words of the text and of the query, as `ka.plot_alignment` takes them.
        """
        return self._by_words(query, document, self._read(query, [document])["weights"][0])

    def _read(self, query, documents, start=0):
        inputs = {"query": strings([query] * len(documents)), "document": strings(documents)}
        if "position" in self.run.shapes:
            inputs["position"] = np.arange(start, start + len(documents), dtype="int32")[:, None]
        return self.run(**inputs)

    def _by_words(self, query, document, weights):
        """Weights between word pieces `(S, T)` as weights between words, and these."""
        asked, columns = self.words.spans(query, weights.shape[1])
        told, rows = self.words.spans(document, weights.shape[0])
        weights = weights[rows]  # a word attends by its first piece
        if not columns:
            return weights[:, :0], told, asked
        return np.add.reduceat(weights, columns, axis=1), told, asked


def _strongest(weights, told, asked):
    """For each word of a text the one of the query that it attends to most, and the weight."""
    if not asked:
        return []
    return [
        (word, asked[column], round(float(row[column]), 4))
        for word, row, column in zip(told, weights, weights.argmax(axis=1), strict=True)
    ]


def answer(config, rank):
    """Prints the best texts for a query, or for each of a table or of standard input.

    Args:
        config: A `PredictConfig` of the recipe.
        rank: A `Ranker` or a `searched.Searcher`.

    Raises:
        UserError: If there is no query or no text, or a file cannot be read.
    """
    given = list(_given(config))
    if config.format == "tsv":
        print("query", "rank", "line", "score", "text", sep="\t")
    for query, lines, documents in given:
        matches = rank(query, documents, config.top)
        matches = [dataclasses.replace(match, number=lines[match.number - 1]) for match in matches]
        _WRITERS[config.format](query, matches, len(config.query) == 0)


def _given(config):
    """Yields each query with its texts, and with the line of each in its file."""
    is_table = config.file is not None and tables.is_table(config.file)
    if len(config.query) > 1:
        raise UserError(
            f"Expected one query, in quotes if it has spaces. Received: {' '.join(config.query)}"
        )
    if not config.query and config.file is None:
        raise UserError("Expected a query, or texts to rank in --file")
    if not config.query and is_table:
        split = flags.call(candidates.pairs_of, config, config.file)
        for rows in split.groups():
            lines, documents = (
                [column[row] for row in rows] for column in (split.lines, split.documents)
            )
            yield split.queries[rows[0]], lines, documents
        return
    queries = flags.given_or_read(config.query, None, "queries")
    if not any(query.strip() for query in queries):
        raise UserError("Expected a query. Received an empty one")
    if is_table:
        lines, documents = flags.call(candidates.documents_of, config, config.file)
    else:
        documents = flags.given_or_read((), config.file, "texts to rank")
        kept = [number for number, text in enumerate(documents) if text.strip()]
        lines, documents = [1 + n for n in kept], [documents[n] for n in kept]
    for query in filter(str.strip, queries):
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
