"""What a reader says of questions about a passage: in words, as a table or as JSON.

config = settle(config, data)                      # a `Config` of the recipe without open options
read = Reader.load(folder, NAME, "model.tflite")
said = read("who painted it ?", "Ida painted it .")         # `Said`: the answer and where it stands
answer(config, read)                               # of a `PredictConfig` of the recipe
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from recipes.data import tables
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import UserError, cannot_load
from recipes.kit.flags import argument, option
from recipes.text import offsets, wordpiece

FORMATS = ("text", "tsv", "jsonl")
SIZES = ("max_context", "max_question", "max_answer")
# What `Reader.load` has to know of a model.
DETAILS = ("tokens", "metric", *SIZES)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told, but for the exports."""

    folder: Path = argument("folder that train wrote")
    questions: tuple[str, ...] = argument(
        "questions; none: those of the table in --file, or else of standard input", nargs="*"
    )
    context: str | None = option(None, "the passage")
    file: Path | None = option(
        None, "file with the passage, or a csv, tsv or jsonl table of questions and passages"
    )
    question_column: str = option("question", "column of the question in a table")
    context_column: str = option("context", "column of the passage in a table")
    format: str = option(
        "text", "how answers are written: jsonl has what was looked at", choices=FORMATS
    )


def settle(config, data):
    """The recipe's `Config` for some data, with values for all options that depend on them.

    Raises:
        UserError: If sizes do not fit each other, or a package is missing.
    """
    config = flags.settle(config, data.examples)
    if config.units % (2 * config.heads):
        raise UserError(
            "--heads must divide --units into heads of an even size. "
            f"Received: --heads {config.heads} --units {config.units}"
        )
    if config.max_answer >= config.max_context:
        raise UserError(
            "--max-answer must be smaller than --max-context. "
            f"Received: {config.max_answer} and {config.max_context}"
        )
    is_spaced = offsets.is_spaced(dict.fromkeys(data.train.contexts))
    tokens = config.tokens or ("pieces" if is_spaced else "characters")
    if tokens == "pieces":
        wordpiece.tensorflow_text()
    metric = config.metric or ("words" if is_spaced else "characters")
    return dataclasses.replace(config, tokens=tokens, metric=metric)


def card(config):
    """The words of the model card, for the recipe's `Config`."""
    compared = {
        "words": "words, in lower case, without punctuation and articles, as SQuAD's script does",
        "characters": "characters, in lower case, without punctuation and spaces",
        "jaquad": "characters without spaces, as JaQuAD's script does",
    }[config.metric]
    sides = {
        "from the passage to the question": config.context_to_question,
        "from the question to the passage": config.question_to_context,
    }
    flows = " and ".join(side for side, is_on in sides.items() if is_on)
    encoder = {
        "pieces": "`encode` in `recipes/text/wordpiece.py`, short enough to port, finds them",
        "characters": "a character is looked up after `fold` in `recipes/text/offsets.py`",
    }[config.tokens]
    return {
        "What it does": (
            f"Marks in a passage the words that answer a question. Attention flows "
            f"{flows or 'nowhere: it reads means'}. `looked_at` tells how much the question looked "
            "at each token of the passage, `weights` which token of the question each token of the "
            "passage looked at; both sum to one."
        ),
        "How it was measured": (
            f"Answers are compared as {compared}. `exact_match` is the share of questions whose "
            "answer is the same, `f1` the mean overlap; of several right answers the best counts. "
            "The sliding window and the logistic regression choose among up to five words, or "
            "runs of letters of one kind, that stand together."
        ),
        "Limits": (
            "It always marks something, also where the passage does not answer the question. An "
            f"answer has at most {config.max_answer} {config.tokens}. Of a question it reads the "
            f"first {config.max_question}; a passage of more than {config.max_context} it reads in "
            "windows. It learned from its training texts alone. A weight tells where it looked, "
            "not why."
        ),
        "How to use": (
            '    python -m recipes.question_answering predict FOLDER "A question" --file FILE\n\n'
            "All forms have one signature, `ids`, from `question` `(B, S)` and `context` `(B, T)`, "
            f"int32, the {config.tokens} of both, padded with 0. `start` and `end` are the first "
            "and the last token of the answer. Token n is in line n of `vocabulary.txt`, counted "
            f"from 0, which is also inside each TFLite file, a zip archive too; {encoder}."
        ),
    }


@dataclasses.dataclass(frozen=True)
class Said:
    """What the model says of a question about a passage.

    A word is a character where characters are read.

    Attributes:
        answer: String, a part of the passage.
        start, end: Integers, where it stands, in characters.
        probability: Float, of this span among all of the passage.
        spans: List of `(start, end)` in characters, the words of the passage.
        looked_at: List of floats, how much the question looked at each of them.
        asked: List of strings, the words of the question.
        weights: Float array `(T, S)`, by which each word of the passage looked at the question's.
    """

    answer: str
    start: int
    end: int
    probability: float
    spans: list
    looked_at: list
    asked: list
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reader:
    """An exported reader, to be called with a question and a passage.

    Attributes:
        tokens: `recipes.text.offsets` tokens.
        sizes: Dict of the options `SIZES` that it was trained with.
        run: Function of `question` and `context`, int32 `(B, S)` and `(B, T)`, to a dict of arrays.
    """

    tokens: object
    sizes: dict
    run: object

    @classmethod
    def load(cls, folder, recipe, file):
        """Loads the form in `file` of a run folder of a recipe.

        Raises:
            UserError: If there is no such run or a part of it cannot be read.
        """
        metrics = run_folder.find_run(folder, recipe=recipe, files=[file, offsets.FILE])
        try:
            kind, _, *sizes = (metrics["details"][name] for name in DETAILS)
        except KeyError as error:
            raise cannot_load(folder / run_folder.METRICS, error) from error
        tokens = offsets.load(folder, kind)
        run = exports.runner(folder / file, "ids")
        return cls(tokens, dict(zip(SIZES, sizes, strict=True)), run)

    def __call__(self, question, context):
        """`Said` of a question about a passage."""
        from recipes.parts import passages  # which loads Keras

        (asked, asked_spans), (ids, spans) = map(self.tokens.encode, (question, context))
        asked = asked[: self.sizes["max_question"]]
        ((_, found),) = passages.find(self.run, [asked], [ids], **self.sizes)
        rows, words = words_of(self.tokens, ids, spans)
        columns, asked_words = words_of(self.tokens, asked, asked_spans)
        start, end = passages.characters(context, spans, found)
        return Said(
            context[start:end],
            start,
            end,
            found.probability,
            words,
            np.add.reduceat(found.looked_at, rows).tolist(),
            [question[a:b] for a, b in asked_words],
            # A word looks by its first piece.
            np.add.reduceat(found.weights[rows], columns, axis=1),
        )


def words_of(tokens, ids, spans):
    """The words of a text, which are its characters where characters are read.

    Args:
        tokens: `recipes.text.offsets` tokens.
        ids, spans: What they made of the text, perhaps cut.

    Returns:
        Integers, the first token of each word, and the list of the spans of these in characters.
    """
    names = (tokens.names[number] for number in ids)
    starts = [n for n, name in enumerate(names) if n == 0 or not name.startswith("##")]
    starts, ends = np.array(starts, int), np.array([*starts, len(ids)][1:], int)
    return starts, np.stack([spans[starts, 0], spans[ends - 1, 1]], axis=1).tolist()


def answer(config, read):
    """Prints an answer for each question.

    Args:
        config: A `PredictConfig` of the recipe.
        read: `Reader`.

    Raises:
        UserError: If there is no question or no passage, or a file cannot be read.
    """
    given = list(_given(config))
    if config.format == "tsv":
        print("question", "answer", "start", "probability", sep="\t")
    for question, context in given:
        shown = _WRITERS[config.format](question, context, read(question, context))
        if config.format == "text" and len(given) > 1:
            shown = f"{question}\n{shown}"
        print(shown, flush=True)


def _given(config):
    """Yields each question and its passage."""
    if (config.context is None) == (config.file is None):
        received = "none" if config.context is None else "both"
        raise UserError(f"Expected a passage in --context or in --file. Received {received}")
    if config.file is not None and tables.is_table(config.file):
        if config.questions:
            raise UserError(
                f"Expected questions, or a table of them in --file. Received both: {config.file}"
            )
        columns = dict.fromkeys((config.question_column, config.context_column), "text")
        for line, question, context in tables.read(config.file, columns):
            _check(question, context, f"{config.file}:{line}: expected")
            yield question, context
        return
    context = config.context
    if context is None:
        (context,) = flags.given_or_read((), config.file, "a passage", whole_file=True)
    for question in flags.given_or_read(config.questions, None, "questions"):
        if config.questions or question.strip():
            _check(question, context)
            yield question, context


def _check(question, context, expected="Expected"):
    if not (question.strip() and context.strip()):
        raise UserError(f"{expected} a question and a passage. Received an empty one")


def _as_text(question, context, said):
    """The answer; below it the passage, the answer in brackets and shaded by what was looked at."""
    from keras_attention.explain.highlight import shade

    start, end = said.start, said.end
    marked = f"{context[:start]}[{said.answer}]{context[end:]}"
    # The brackets stand outside of the words that they touch.
    spans = [(a + (a >= start) + (a >= end), b + (b > start) + (b > end)) for a, b in said.spans]
    return f"{said.answer}  {said.probability:.3f}\n    {shade(marked, spans, said.looked_at)}"


def _as_tsv(question, context, said):
    fields = [" ".join(text.split()) for text in (question, said.answer)]
    return "\t".join([*fields, str(said.start), f"{said.probability:.6f}"])


def _as_json(question, context, said):
    words = [
        {"word": context[start:end], "start": start, "looked_at": round(float(weight), 6)}
        for (start, end), weight in zip(said.spans, said.looked_at, strict=True)
    ]
    if said.asked:
        for word, row in zip(words, said.weights, strict=True):
            word |= {
                "asked": said.asked[row.argmax()],
                "weight": round(float(row.max()), 6),
            }
    answer = {
        "question": question,
        "answer": said.answer,
        "start": said.start,
        "probability": round(said.probability, 6),
        "words": words,
    }
    return json.dumps(answer, ensure_ascii=False)


_WRITERS = {"text": _as_text, "tsv": _as_tsv, "jsonl": _as_json}
