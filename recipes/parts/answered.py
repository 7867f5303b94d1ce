"""Exporting what answers questions, and what it answers: in words, as a table or as JSON.

figures = export(model, folder, texts, config)
read = Reader.load(folder, NAME, "model.tflite")
said = read("who painted it ?", "Ida painted it .")        # `Said`: the answer and where it stands
"""

import dataclasses
import json

import numpy as np

from recipes.data import tables
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import UserError, cannot_load
from recipes.text import offsets, wordpiece

FORMATS = ("text", "tsv", "jsonl")
BOUNDS = {  # spans of nearly the same score may change places
    "saved_model": {"difference": 1e-3, "agreement": 0.98},
    "tflite": {"difference": 1e-3, "agreement": 0.98},
    "tflite_float16": {"difference": None, "agreement": 0.95},
    "tflite_int8": {"difference": None, "agreement": None},
}
_SIZES = ("max_context", "max_question", "max_answer")


def check(config):
    """Raises `UserError` for sizes of the recipe's `Config` that do not fit each other."""
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


def details(config, texts):
    """What `Reader.load` has to know of the model."""
    return {
        "tokens": texts.tokens.kind,
        "metric": texts.metric,
        **{name: getattr(config, name) for name in _SIZES},
    }


def card(config, texts):
    """The words of the model card, for the recipe's `Config`."""
    kind = texts.tokens.kind
    compared = {
        "words": "words, in lower case, without punctuation and articles, as SQuAD's script does",
        "characters": "characters, in lower case, without punctuation and spaces",
        "jaquad": "characters without spaces, as JaQuAD's script does",
    }[texts.metric]
    sides = [
        name
        for name, is_on in (
            ("from the passage to the question", config.context_to_question),
            ("from the question to the passage", config.question_to_context),
        )
        if is_on
    ]
    also_text = (
        " and `text`, which takes both as raw texts, needs tensorflow-text's operators, and also "
        "gives the `pieces` of the passage, among which `start` and `end` count"
    )
    return {
        "What it does": (
            "Marks in a passage the words that answer a question. Attention flows "
            f"{' and '.join(sides) or 'nowhere: it reads means'}. `looked_at` tells how much the "
            "question looked at each token of the passage, `weights` which token of the question "
            "each token of the passage looked at; both sum to one."
        ),
        "How it was measured": (
            f"Answers are compared as {compared}. `exact_match` is the share of questions whose "
            "answer is the same, `f1` the mean overlap; of several right answers the best counts. "
            "The sliding window and the logistic regression choose among up to five words, or "
            "runs of letters of one kind, that stand together."
        ),
        "Limits": (
            "It always marks something, also where the passage does not answer the question. An "
            f"answer has at most {config.max_answer} {kind}. Of a question it reads the first "
            f"{config.max_question}; a passage of more than {config.max_context} it reads in "
            "windows. It learned from its training texts alone. A weight tells where it looked, "
            "not why."
        ),
        "How to use": (
            '    python -m recipes.question_answering predict FOLDER "A question" --file FILE\n\n'
            "The exports have the signature `ids`, from `question` `(B, S)` and `context` `(B, T)`,"
            f" int32, padded with 0{also_text if kind == 'pieces' else ''}. `start` and `end` are "
            "the first and the last token of the answer. Line n of `vocabulary.txt`, counted from "
            "0, is the token n; it is also inside each TFLite file, which is a zip archive too. "
            + (
                "`saved_model` loads after `import tensorflow_text`."
                if kind == "pieces"
                else "A character is looked up in NFKC and lower case (`fold` in "
                "`recipes/text/offsets.py`)."
            )
        ),
    }


def export(model, folder, texts, config):
    """Writes all forms of a reader: of ids, and for word pieces of raw texts too.

    Args:
        model: The model to use, see `recipes.question_answering.build_model`.
        folder: Path.
        texts: `passages.Texts`, on whose test part the forms are compared.
        config: A `Config` of the recipe.

    Returns:
        As `kit.exports.export`; the forms agree where the span is the same.
    """
    import tensorflow as tf

    import keras_attention as ka

    test, count = texts.data.test, config.parity_questions
    columns = {
        "question": [row[: config.max_question] for row in texts.questions["test"][:count]],
        "context": [row[: config.max_context] for row in texts.contexts["test"][:count]],
    }

    def samples():
        for rows in zip(*columns.values(), strict=True):
            yield {name: row[None] for name, row in zip(columns, rows, strict=True)}

    ids = tf.TensorSpec((1, None), tf.int32)

    def read_ids(model, question, context):
        inputs = {"question": _with_a_step(question), "context": _with_a_step(context)}
        return model(inputs, training=False)

    signatures = [
        ka.Signature(
            "ids",
            read_ids,
            dict.fromkeys(columns, ((None, None), "int32")),
            tf.data.Dataset.from_generator(samples, output_signature=dict.fromkeys(columns, ids)),
            decision=_span,
        )
    ]
    if texts.tokens.kind == "pieces":
        tokenizer, pieces = texts.tokens.tokenizer, tf.constant(texts.tokens.names)

        def read_text(model, question, context):
            question, context = (tokenizer.tokenize(x).to_tensor() for x in (question, context))
            shown = tf.gather(pieces, _with_a_step(context))
            return {"pieces": shown, **read_ids(model, question, context)}

        short = [
            row for row in range(min(count, len(test)))
            if len(texts.contexts["test"][row]) <= config.max_context
        ]  # fmt: skip
        raw = {
            "question": [test.questions[row] for row in short or [0]],
            "context": [test.contexts[row] for row in short or [0]],
        }
        signatures.append(
            ka.Signature(
                "text",
                read_text,
                dict.fromkeys(raw, ((None,), "string")),
                tf.data.Dataset.from_tensor_slices(raw).batch(1),
                resources=[tokenizer],
                text=True,
                decision=_span,
            )
        )
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=signatures,
        bounds=BOUNDS,
        files={offsets.FILE: texts.tokens.names},
    )


def _with_a_step(ids):
    """Ids `(B, T)` of at least one step: TFLite's kernels do not all take none."""
    import tensorflow as tf

    return tf.pad(ids, [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)]])


def _span(outputs):
    return np.stack([outputs["start"], outputs["end"]], axis=-1)


@dataclasses.dataclass(frozen=True)
class Said:
    """What the model says of a question about a passage.

    Attributes:
        answer: String, a part of the passage.
        start, end: Integers, where it stands, in characters.
        probability: Float, of this span among all of the passage.
        spans: List of `(start, end)` in characters, the words of the passage (characters where
            these are read).
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
    """An exported reader, to be called with a question and a passage."""

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
            kind = metrics["details"]["tokens"]
            sizes = {name: metrics["details"][name] for name in _SIZES}
        except KeyError as error:
            raise cannot_load(folder / run_folder.METRICS, error) from error
        tokens = offsets.load(folder, kind)
        operators = wordpiece.operators() if kind == "pieces" else ()
        return cls(tokens, sizes, exports.runner(folder / file, "ids", operators=operators))

    def __call__(self, question, context):
        """`Said` of a question about a passage."""
        from recipes.parts import passages  # which loads Keras

        (asked, asked_spans), (ids, spans) = map(self.tokens.encode, (question, context))
        sizes = {name: self.sizes[name] for name in ("max_context", "max_question")}
        overlap = self.sizes["max_answer"]
        ((_, found),) = passages.find(self.run, [asked], [ids], overlap=overlap, **sizes)
        start, end, answer = passages.told(context, spans, found)
        starts, words = self._words(ids, spans, context)
        columns, asked_words = self._words(asked[: sizes["max_question"]], asked_spans, question)
        looked_at, weights = found.looked_at, found.weights
        if starts:
            looked_at = np.add.reduceat(looked_at, starts)
            weights = weights[starts]  # a word looks by its first piece
        if columns:
            weights = np.add.reduceat(weights, columns, axis=1)
        return Said(
            answer,
            start,
            end,
            found.probability,
            words,
            looked_at.tolist(),
            [question[a:b] for a, b in asked_words],
            weights,
        )

    def _words(self, ids, spans, text):
        """The first tokens of the words of a text, and the spans of these in characters."""
        is_begin = [
            not self.tokens.names[number].startswith("##") or position == 0
            for position, number in enumerate(ids)
        ]
        starts = [position for position, begins in enumerate(is_begin) if begins]
        ends = [*starts[1:], len(ids)]
        return starts, [
            (spans[start][0], spans[end - 1][1]) for start, end in zip(starts, ends, strict=True)
        ]


def figure(read, question, context, around=9):
    """The picture of attention flow: words of the passage near the answer, and of the question.

    Args:
        read: `Reader`.
        question, context: Strings.
        around: Integer, words to show before and after the answer.
    """
    import keras_attention as ka

    said = read(question, context)
    inside = [number for number, (a, b) in enumerate(said.spans) if a < said.end and b > said.start]
    first, *_, last = [*inside, *inside] or (0, 0)  # nothing is found in an empty passage
    shown = slice(max(0, first - around), last + 1 + around)
    words = [context[a:b] for a, b in said.spans[shown]]
    title = f"{question}  {said.answer}"
    return ka.plot_alignment(said.weights[shown], words, said.asked, title=title)


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
        _WRITERS[config.format](question, context, read(question, context), len(given) > 1)


def _given(config):
    """Yields each question and its passage."""
    is_table = config.file is not None and tables.is_table(config.file)
    if config.context is not None and config.file is not None:
        raise UserError("Expected a passage in --context or in --file. Received both")
    if config.context is None and config.file is None:
        raise UserError("Expected a passage in --context or in --file. Received none")
    if is_table and config.questions:
        raise UserError(
            f"Expected questions, or a table of them in --file. Received both: {config.file}"
        )
    if is_table:
        columns = dict.fromkeys((config.question_column, config.context_column), "text")
        for line, question, context in tables.read(config.file, columns):
            _check(f"{config.file}:{line}", question, context)
            yield question, context
        return
    context = config.context
    if context is None:
        (context,) = flags.given_or_read((), config.file, "a passage", whole_file=True)
    for question in flags.given_or_read(config.questions, None, "questions"):
        if config.questions or question.strip():
            _check("", question, context)
            yield question, context


def _check(where, question, context):
    if not (question.strip() and context.strip()):
        at = f"{where}: expected" if where else "Expected"
        raise UserError(f"{at} a question and a passage. Received an empty one")


def _write_text(question, context, said, has_many):
    """The answer; below it the passage, the answer in brackets and shaded by what was looked at."""
    from keras_attention.explain.highlight import shade

    if has_many:
        print(question)
    print(f"{said.answer}  {said.probability:.3f}")
    marked = f"{context[: said.start]}[{said.answer}]{context[said.end :]}"

    def moved(at, is_end):
        behind = at > said.end or (at == said.end and not is_end)
        return at + (at > said.start or (at == said.start and not is_end)) + behind

    spans = [(moved(start, False), moved(end, True)) for start, end in said.spans]
    print(f"    {shade(marked, spans, said.looked_at)}", flush=True)


def _write_tsv(question, context, said, has_many):
    fields = (" ".join(text.split()) for text in (question, said.answer))
    print(*fields, said.start, f"{said.probability:.6f}", sep="\t", flush=True)


def _write_jsonl(question, context, said, has_many):
    strongest = said.weights.argmax(axis=1).tolist() if said.asked else []
    words = [
        {
            "word": context[start:end],
            "start": start,
            "looked_at": round(float(weight), 6),
            "asked": said.asked[column],
            "weight": round(float(said.weights[row, column]), 6),
        }
        for row, ((start, end), weight, column) in enumerate(
            zip(said.spans, said.looked_at, strongest, strict=False)
        )
    ]
    row = {
        "question": question,
        "answer": said.answer,
        "start": said.start,
        "probability": round(said.probability, 6),
        "words": words,
    }
    print(json.dumps(row, ensure_ascii=False), flush=True)


_WRITERS = {"text": _write_text, "tsv": _write_tsv, "jsonl": _write_jsonl}
