"""Texts to summarize as words, and what a summarizer says of texts: in words, a table or JSON.

texts = Texts.read(config, data)                    # words of all splits, and the way back to text
read = Reader.load(folder, NAME, "model.tflite")
said = read(text)                                   # `Said`: the summary, and where it copied
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from recipes.baselines import extracts, rouge
from recipes.data import summaries, tables
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.flags import argument, option
from recipes.text import copyable, wordpiece
from recipes.text.copyable import Copyable

FORMATS = ("text", "tsv", "jsonl")
_SHOWN = 0.05  # of a picture: the least share for which a word of the document gets a column


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told, but for the exports."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("documents; none: standard input, as one", nargs="*")
    file: Path | None = option(
        None, "file with one document, or a csv, tsv or jsonl table with one per row"
    )
    document_column: str | None = option(
        None, "column of the document (default: document, or else dialogue or article)"
    )
    search: str = option("beam", "how to search", choices=("beam", "greedy"))
    format: str = option(
        "text", "how answers are written: jsonl has the words and where they were copied from",
        choices=FORMATS,
    )  # fmt: skip
    png: Path | None = option(None, "also draw what was copied, for a single document")


@dataclasses.dataclass(frozen=True)
class Texts:
    """Documents and summaries as words.

    Attributes:
        known: `Copyable`.
        data: `summaries.Summaries`.
        sources: Dict from each split to the words of its documents.
        targets, rows: Dicts from `train` and `validation` to the words of the references, and the
            number of the document of each.
        pieces: List of arrays, the word pieces of the words of each test document.
    """

    known: Copyable
    data: summaries.Summaries
    sources: dict
    targets: dict
    rows: dict
    pieces: list

    @classmethod
    def read(cls, config, data):
        """Learns the words from the training split, and reads all splits."""
        known = Copyable.learn(
            data.train.documents, data.train.pairs()[1], config.vocabulary_size,
            config.max_document, cased=config.cased,
        )  # fmt: skip
        sources, targets, rows = {}, {}, {}
        for part, split in data.splits.items():
            sources[part], pieces = known.sources(split.documents)
            if part != "test":
                rows[part], texts = split.pairs()
                targets[part] = known.targets(texts, rows[part], pieces)
        print(f"{known.known:,} words can be generated, all others copied")
        return cls(known, data, sources, targets, rows, pieces)  # those of the last, the test split

    def batches(self, config, *, epoch=0):
        """Dict of batches to train and to validate on."""
        from recipes.parts import pointer_generator

        parts = self.sources, self.targets, self.rows
        return pointer_generator.make_batches(config, *parts, epoch=epoch)

    def search(self, config, **options):
        """A `pointer_generator.searcher`."""
        from recipes.parts import pointer_generator

        usual = {
            "size": self.known.size, "max_length": config.max_summary, "beams": config.beams,
            "length_penalty": config.length_penalty, "ngrams": config.no_repeat_ngram,
        }  # fmt: skip
        return pointer_generator.searcher(**usual | options)

    def write(self, config, model, **options):
        """The words of the summaries of the test documents, a list of arrays."""
        from recipes.parts import pointer_generator

        run = self.search(config, **options)(model)
        return pointer_generator.generate(run, self.sources["test"])

    def test_texts(self, written):
        """The texts of summaries of the test documents, by their words."""
        return [self.known.text(*pair) for pair in zip(written, self.pieces, strict=True)]

    def export(self, config, model, folder):
        """Writes all forms; returns what `kit.exports.export` does."""
        from recipes.parts import pointer_generator

        documents = self.data.test.documents[: config.parity_texts]
        return pointer_generator.export(
            model, folder, self.known, texts=documents, max_summary=config.max_summary,
            searches=(self.search(config), self.search(config, beams=1)),
            ids=wordpiece.tokenize(self.known.tokenizer, documents),
        )  # fmt: skip


def without_network(data):
    """ROUGE of the first three sentences of a document, or turns, and of its most central ones."""
    documents, known = data.test.documents, data.test.summaries
    return {
        "lead-3": rouge.corpus([extracts.lead(text) for text in documents], known),
        "TextRank": rouge.corpus([extracts.textrank(text) for text in documents], known),
    }


def figure_of(model, texts, written):
    """The picture of what was copied into the summary of the first test document."""
    from recipes.parts import pointer_generator

    source, document = texts.sources["test"][0], texts.data.test.documents[0]
    spans = texts.known.spans(document)[: len(source)]
    names = [document[a:b] for a, b in spans]
    shares = np.zeros((0, len(source)))
    if len(written):
        shares = np.asarray(pointer_generator.trace(model, source[None], written[None]))[0]
    return figure(shares, texts.known.names(written, names), names)


def figure(shares, written, source):
    """The picture of what was copied: the words of the document from which something was.

    Args:
        shares: Array `(L, S)`, the share of each written word that was copied from each word.
        written, source: Lists of strings.
    """
    import keras_attention as ka

    if not shares.size:
        shares, written, source = np.zeros((1, 1)), ["(nothing)"], ["(nothing)"]
    columns = np.flatnonzero(shares.max(axis=0) >= _SHOWN)
    if not len(columns):
        columns = shares.max(axis=0).argsort()[-1:]
    return ka.plot_alignment(shares[:, columns], written, [source[n] for n in columns])


def card(config, details):
    """The words of the model card.

    Args:
        config: The recipe's `Config`.
        details: Dict of what was measured: `rouge`, `copied_words`, `copied_unknown_words`, and
            `repeated_trigrams`, from a model's name to the percents without and with blocking.
    """
    kind = "a transformer that copies"
    if config.architecture == "recurrent":
        kind = "a pointer-generator network, with" + "out" * (not config.coverage) + " coverage"
    rows = [
        f"| {name} | {free:.1f} % | {blocked:.1f} % |"
        for name, (free, blocked) in details["repeated_trigrams"].items()
    ]
    ngrams = config.no_repeat_ngram or "(not blocked) 0"
    repeated = "\n".join(
        [f"| | free search | no {ngrams} words in a row twice |", "| --- | --- | --- |", *rows]
    )
    return {
        "What it does": (
            f"Summarizes a document ({kind}). A word is generated, or copied from the document, as "
            "words must be that its vocabulary lacks.\n\n![What was copied](copied.png)"
        ),
        "How it was measured": (
            f"ROUGE is F1, out of 100: {details['rouge']}. The search has {config.beams} beams and "
            f"a length penalty of {config.length_penalty:g}. Baselines: the first three sentences "
            "(turns of a dialogue), and the three most central ones. Without attention the same "
            "network has the mean of the reader's states, and cannot copy."
        ),
        "Copies and repeats": (
            f"Copied are {details['copied_words']:.1f} % of the words it wrote for the test split "
            "(more than half of their probability is); "
            f"{details['copied_unknown_words']:.1f} % are in no vocabulary, and could only be "
            f"copied. Share of summaries in which three words in a row stand twice:\n\n{repeated}"
        ),
        "Limits": (
            "It writes what is likely, not what is true: names may be mixed up, and what the "
            "document never said may be added. Nobody should rely on a summary without the "
            f"document. It reads the first {config.max_document} words, and writes at most "
            f"{config.max_summary}. It knows the subjects and style of its training data."
        ),
        "How to use": (
            "    python -m recipes.summarization predict FOLDER --file document.txt\n\n"
            "Each form has three signatures. `text` takes raw text and searches with beams, "
            "`text_greedy` with one; both need tensorflow-text's operators. `ids` takes and gives "
            "word pieces, searches with one beam, and runs in any interpreter. All give for each "
            "written word the `position` of the word of the document that it was copied from and "
            "the share of its probability that was `copied`. A word of the document is a piece "
            "with those after it that begin with `##`, or one marked as `#Person1#` is. "
            "`vocabulary.txt` and `spacing.txt` (which marks cling to the words around them) also "
            "lie in each TFLite file, a zip archive too. `saved_model` loads after `import "
            "tensorflow_text`."
        ),
    }


@dataclasses.dataclass(frozen=True)
class Said:
    """What a summarizer says of a document.

    Attributes:
        summary: String.
        words: List of strings, the words of the summary.
        positions: List of integers, for each the word of the document it was copied from, or -1.
        copied: List of floats, the share of its probability that was copied.
        source: List of strings, the words of the document that were read.
        spans: List of the `(start, end)` of each, in characters.
        left: Integer, words of the document that were not read.
    """

    summary: str
    words: list
    positions: list
    copied: list
    source: list
    spans: list
    left: int


@dataclasses.dataclass(frozen=True)
class Reader:
    """An exported summarizer, to be called with a text."""

    known: Copyable
    run: object

    @classmethod
    def load(cls, config, recipe, file):
        """Loads the form in `file` of the run folder of a `PredictConfig`.

        Raises:
            UserError: If there is no such run or a part of it cannot be read.
        """
        folder = config.folder
        metrics = run_folder.find_run(folder, recipe=recipe, files=[file, *copyable.FILES])
        known = Copyable.load(folder, metrics["details"]["max_document"])
        signature = "text" if config.search == "beam" else "text_greedy"
        run = exports.runner(folder / file, signature, operators=wordpiece.operators())
        return cls(known, run)

    def __call__(self, text):
        """`Said` of a text."""
        spans = self.known.spans(text)
        left = max(0, len(spans) - self.known.max_words)
        spans = spans[: self.known.max_words]
        source = [text[start:end] for start, end in spans]
        outputs = {name: x[0] for name, x in self.run(text=np.array([text.encode()])).items()}
        words = outputs["words"][outputs["words"] != copyable.PAD]
        count = len(words)
        return Said(
            outputs["summary"].decode(),
            self.known.names(words, source),
            outputs["position"][:count].tolist(),
            outputs["copied"][:count].tolist(),
            source, spans, left,
        )  # fmt: skip


def answer(config, read):
    """Prints the summary of each document that is given.

    Args:
        config: A `PredictConfig` of the recipe.
        read: `Reader`.

    Raises:
        UserError: If no document is given, or it cannot be read.
    """
    given = list(_given(config))
    if config.png and len(given) > 1:
        raise UserError(f"--png draws a single document. Received: {len(given)}")
    if config.format == "tsv":
        print("document", "summary", sep="\t")
    for text in given:
        said = read(text)
        if said.left:
            print(f"Note: the last {said.left} words are not read", file=sys.stderr)
        print(_WRITERS[config.format](text, said), flush=True)
    if config.png:
        shares = np.zeros((len(said.words), len(said.source)))
        for row, (position, copied) in enumerate(zip(said.positions, said.copied, strict=True)):
            if position >= 0:
                shares[row, position] = copied
        with writing("--png", config.png):
            figure(shares, said.words, said.source).savefig(config.png)


def _given(config):
    if config.texts or not config.file or not tables.is_table(config.file):
        return flags.given_or_read(config.texts, config.file, "documents", whole_file=True)
    found = tables.column_names(config.file)
    usual = [document for document, _ in summaries.LAYOUTS]
    column = config.document_column or next((n for n in usual if n in found), usual[0])
    return [text for _, text in tables.read(config.file, {column: "text"})]


def _as_tsv(text, said):
    return "\t".join(" ".join(field.split()) for field in (text, said.summary))


def _as_json(text, said):
    words = []
    for word, position, copied in zip(said.words, said.positions, said.copied, strict=True):
        row = {"word": word, "copied": round(copied, 4)}
        if position >= 0:
            start, end = said.spans[position]
            row |= {"position": position, "start": start, "end": end}
        words.append(row)
    return json.dumps(
        {"document": text, "summary": said.summary, "words": words}, ensure_ascii=False
    )


_WRITERS = {"text": lambda text, said: said.summary, "tsv": _as_tsv, "jsonl": _as_json}
