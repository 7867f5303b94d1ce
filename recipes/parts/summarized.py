"""What a summarizer says of documents: in words, as a table or as JSON, and where it copied.

config = settle(config, data)                      # a `Config` of the recipe without open options
read = Reader.load(folder, NAME, "model.tflite")
said = read(text)                                   # `Said`: the summary, and each word's source
answer(config, read)                                # of a `PredictConfig` of the recipe
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

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
    format: str = option(
        "text", "how answers are written: jsonl has the words and where they were copied from",
        choices=FORMATS,
    )  # fmt: skip
    png: Path | None = option(None, "also draw what was copied, for a single document")


def settle(config, data):
    """The recipe's `Config` for some data, with values for all options that depend on them.

    Raises:
        UserError: If options do not fit each other, or a package is missing.
    """
    config = flags.settle(config, data.examples)
    if config.architecture == "transformer" and config.units % config.heads:
        raise UserError(f"--heads must divide --units. Received: {config.heads} and {config.units}")
    if config.compare_coverage and not (config.architecture == "recurrent" and config.coverage):
        raise UserError("--compare-coverage needs a recurrent network with --coverage above 0")
    wordpiece.tensorflow_text()
    return config


def card(config, details):
    """The words of the model card.

    Args:
        config: The recipe's `Config`.
        details: Dict of what was measured: `rouge`, and `copies_and_repeats`, what
            `summary_texts.Texts.facts` returns.
    """
    kind = "a transformer that copies"
    if config.architecture == "recurrent":
        kind = f"a pointer-generator network, with{'' if config.coverage else 'out'} coverage"
    ngrams = config.no_repeat_ngram
    blocked = f" that writes no {ngrams} words in a row twice" if ngrams else ""
    rows = "".join(
        f"| {name} | {' | '.join(f'{percent:.1f} %' for percent in figures.values())} |\n"
        for name, figures in details["copies_and_repeats"].items()
    )
    return {
        "What it does": (
            f"Summarizes a document ({kind}). A word is generated, or copied from the document, as "
            "words must be that its vocabulary lacks.\n\n![What was copied](copied.png)"
        ),
        "How it was measured": (
            f"ROUGE is F1, out of 100: {details['rouge']}. Summaries are those of a search with "
            f"{config.beams} beams and a length penalty of {config.length_penalty:g}{blocked}. "
            "Baselines: the first three sentences (or turns of a dialogue), and the three most "
            "central ones. Without attention the network has the mean of the reader's states, and "
            "cannot copy."
        ),
        "Copies and repeats": (
            "Of the words written for the test split those of which more than half of the "
            "probability is copied, and those that could only be copied, as no vocabulary has "
            "them; and the summaries in which three words in a row stand twice, where the search "
            "lets them:\n\n| | copied words | in no vocabulary | summaries that repeat |\n"
            f"| --- | --- | --- | --- |\n{rows}"
        ),
        "Limits": (
            "It writes what is likely, not what is true: names may be mixed up, and what the "
            "document never said may be added. Nobody should rely on a summary without the "
            f"document. It reads the first {config.max_document} words, and writes at most "
            f"{config.max_summary}. It knows the subjects and style of its training data."
        ),
        "How to use": (
            "    python -m recipes.summarization predict FOLDER --file document.txt\n\n"
            "Each form has two signatures. `text` takes raw text, searches with beams and needs "
            "tensorflow-text's operators; for each written word it tells the `position` of the "
            "word of the document that it was copied from and the share of its probability that "
            "was `copied`. `ids` takes and gives word pieces, searches with one beam, and runs in "
            "any interpreter. A word of the document is a piece with those after it that begin "
            "with `##`, or one marked as `#Person1#` is. "
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
        words: List of dicts, for each word of the summary its `word` and the share of its
            probability that was `copied`; if any was, the `position` of the word of the document
            from which most of it was, and the `start` and `end` of that in characters.
        source: List of strings, the words of the document that were read.
        left: Integer, words of the document that were not read.
    """

    summary: str
    words: list
    source: list
    left: int

    def shares(self):
        """The share of each word that was copied from its position in the document, `(L, S)`."""
        shares = np.zeros((len(self.words), len(self.source)))
        for row, word in enumerate(self.words):
            if "position" in word:
                shares[row, word["position"]] = word["copied"]
        return shares


@dataclasses.dataclass(frozen=True)
class Reader:
    """An exported summarizer, to be called with a text."""

    known: Copyable
    run: object

    @classmethod
    def load(cls, folder, recipe, file):
        """Loads the form in `file` of a run folder of a recipe.

        Raises:
            UserError: If there is no such run or a part of it cannot be read.
        """
        metrics = run_folder.find_run(folder, recipe=recipe, files=[file, *copyable.FILES])
        known = Copyable.load(folder, metrics["details"]["max_document"])
        return cls(known, exports.runner(folder / file, "text", operators=wordpiece.operators()))

    def __call__(self, text):
        """`Said` of a text."""
        outputs = {name: x[0] for name, x in self.run(text=np.array([text.encode()])).items()}
        spans = self.known.spans(text)
        read = spans[: self.known.max_words]
        source = [text[start:end] for start, end in read]
        numbers = outputs["words"][outputs["words"] != copyable.PAD]
        words = []
        for index, word in enumerate(self.known.names(numbers, source)):
            words.append({"word": word, "copied": round(float(outputs["copied"][index]), 4)})
            if (position := int(outputs["position"][index])) >= 0:
                start, end = read[position]
                words[-1] |= {"position": position, "start": start, "end": end}
        return Said(outputs["summary"].decode(), words, source, len(spans) - len(read))


def answer(config, read):
    """Prints the summary of each document that is given.

    Args:
        config: A `PredictConfig` of the recipe.
        read: `Reader`.

    Raises:
        UserError: If no document is given, or it cannot be read.
    """
    given = _given(config)
    if config.png and len(given) > 1:
        raise UserError(f"--png draws a single document. Received: {len(given)}")
    if config.format == "tsv":
        print("document", "summary", sep="\t")
    for text in given:
        said = read(text)
        if said.left:
            print(f"Note: the last {said.left} words are not read", file=sys.stderr)
        print(_shown(config.format, text, said), flush=True)
    if config.png:
        written = [word["word"] for word in said.words]
        with writing("--png", config.png):
            figure(said.shares(), written, said.source).savefig(config.png)


def _given(config):
    if config.texts or not config.file or not tables.is_table(config.file):
        return flags.given_or_read(config.texts, config.file, "documents", whole_file=True)
    found = tables.column_names(config.file)
    usual = [document for document, _ in summaries.LAYOUTS]
    column = config.document_column or next((n for n in usual if n in found), usual[0])
    return [text for _, text in tables.read(config.file, {column: "text"})]


def _shown(format, text, said):
    """The answer to a text, as `--format` asks for it."""
    if format == "tsv":
        return "\t".join(" ".join(field.split()) for field in (text, said.summary))
    if format == "jsonl":
        row = {"document": text, "summary": said.summary, "words": said.words}
        return json.dumps(row, ensure_ascii=False)
    return said.summary


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
