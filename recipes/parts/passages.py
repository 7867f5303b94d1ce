"""Questions and passages as ids: batches to train on, windows of long passages, answers, exports.

texts = read(config, data)             # `config` of the recipe, `data` as `reading.load` gives it
batches = texts.batches(config, shuffle_seed=0)
figures = texts.measure(config, model, "validation")
forms = export(model, folder, texts, config)
"""

import dataclasses

import numpy as np
from keras import ops

from recipes.data.batches import Batches, pad
from recipes.kit import answers, exports, flags
from recipes.text import offsets

BOUNDS = {  # spans of nearly the same score may change places
    "saved_model": {"difference": 1e-3, "agreement": 0.98},
    "tflite": {"difference": 1e-3, "agreement": 0.98},
    "tflite_float16": {"difference": None, "agreement": 0.95},
    "tflite_int8": {"difference": None, "agreement": None},
}
_STEPS = 64  # to which lengths are rounded where a model only answers: each is traced anew


class SpanBatches(Batches):
    """Passages of about the same length with their questions, and where the answers stand.

    A passage of more than `max_context` steps is cut to a window that has the answer, drawn anew in
    each epoch.

    Args:
        questions, contexts: Lists of int32 arrays.
        targets: int32 array `(N, 2)`, the first and the last step of each answer.
        batch_size: Integer, questions in a batch.
        max_context, max_question: Integers, steps that are read.
        **options: As for `Batches`.

    Each batch is `({"question": (B, S), "context": (B, T)}, {"start": (B,), "end": (B,)})`.
    """

    def __init__(
        self, questions, contexts, targets, batch_size, *, max_context, max_question, **options
    ):
        self._questions = [row[:max_question] for row in questions]
        self._contexts, self._targets, self._longest = contexts, targets, max_context
        self._widest = max(map(len, self._questions), default=1)
        lengths = [min(len(row), max_context) for row in contexts]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, rows, width):
        rng = np.random.default_rng((self._seed or 0, self._epoch, int(rows[0])))
        begins = np.array([self._begin(row, rng) for row in rows])
        contexts = [
            self._contexts[row][begin : begin + self._longest]
            for row, begin in zip(rows, begins, strict=True)
        ]
        questions = [self._questions[row] for row in rows]
        asked = max(1, *map(len, questions))
        if rows is self._batches[0][0]:
            # As wide as no other: Keras expects of all batches what the first two have in common.
            asked = self._widest + 1
        inputs = {"question": pad(questions, asked), "context": pad(contexts, width)}
        targets = self._targets[rows] - begins[:, None]
        start, end = np.minimum(targets, [[len(context) - 1] for context in contexts]).T
        return inputs, {"start": start.astype("int32"), "end": end.astype("int32")}

    def _begin(self, row, rng):
        """Where the window of a passage begins; with the answer's start if it has no room for all.

        All of the answer is inside otherwise.
        """
        first, last = self._targets[row]
        high = min(first, max(0, len(self._contexts[row]) - self._longest))
        return rng.integers(min(high, max(0, last + 1 - self._longest)), high + 1)


def windows(length, size, overlap):
    """Where the fewest windows over a passage begin, each sharing `overlap` steps with the next.

    >>> windows(5, 10, 2), windows(20, 10, 2)
    ([0], [0, 5, 10])
    """
    if length <= size:
        return [0]
    count = 1 + -(-(length - size) // (size - overlap))
    return [round(number * (length - size) / (count - 1)) for number in range(count)]


@dataclasses.dataclass(frozen=True)
class Found:
    """An answer that was found in a passage.

    Attributes:
        start, end: Integers, the first and the last token of the passage.
        probability: Float, of this span among all of the passage.
        looked_at: Float array `(T,)`, how much the question looked at each token of the window with
            the answer; zeros elsewhere.
        weights: Float array `(T, S)`, which token of the question each of these tokens looked at;
            zeros elsewhere.
    """

    start: int
    end: int
    probability: float
    looked_at: np.ndarray
    weights: np.ndarray


def find(run, questions, contexts, *, max_context, max_question, max_answer, at_once=32):
    """Yields the best span of each passage for its question; a long one is read in windows.

    Args:
        run: Function of `question` and `context`, int32 `(B, S)` and `(B, T)`, to a dict of arrays,
            see `recipes.question_answering.build_model`.
        questions, contexts: Lists of int32 arrays.
        max_context, max_question: Integers, steps that are read at once.
        max_answer: Integer, steps that two windows share, at least: one of them has all of it.
        at_once: Integer, windows in a batch.

    Yields:
        Pairs of a row and its `Found`, in any order.
    """
    questions = [row[:max_question] for row in questions]
    begins = [windows(len(row), max_context, max_answer) for row in contexts]
    # By length, and all windows of a passage in one batch.
    order = sorted(range(len(contexts)), key=lambda row: (len(begins[row]), len(contexts[row])))
    while order:
        rows = [order.pop()]
        count = len(begins[rows[0]])
        while order and count + len(begins[order[-1]]) <= at_once:
            rows.append(order.pop())
            count += len(begins[rows[-1]])
        pairs = [(row, begin) for row in rows for begin in begins[row]]
        outputs = run(
            question=_rounded([questions[row] for row, _ in pairs]),
            context=_rounded([contexts[row][begin : begin + max_context] for row, begin in pairs]),
        )
        for row in rows:
            numbers = [number for number, (other, _) in enumerate(pairs) if other == row]
            of_row = {name: np.asarray(x)[numbers] for name, x in outputs.items()}
            yield row, _best(of_row, begins[row], len(contexts[row]), len(questions[row]))


def _rounded(rows):
    longest = max(1, *map(len, rows))
    return pad(rows, -(-longest // _STEPS) * _STEPS)


def _best(outputs, begins, length, question_length):
    """The `Found` of a passage: the best of its windows."""
    best = int(outputs["score"].argmax())
    # A window tells the share of its best span; from it follows what all of its spans weigh.
    scores = outputs["score"].astype("float64")
    totals = np.exp(scores - scores[best]) / np.maximum(outputs["probability"], 1e-30)
    begin = begins[best]
    size = min(length - begin, outputs["looked_at"].shape[1])
    looked_at = np.zeros(length, "float32")
    looked_at[begin : begin + size] = outputs["looked_at"][best, :size]
    weights = np.zeros((length, question_length), "float32")
    weights[begin : begin + size] = outputs["weights"][best, :size, :question_length]
    start, end = (begin + int(outputs[name][best]) for name in ("start", "end"))
    return Found(start, end, float(1 / totals.sum()), looked_at, weights)


def characters(context, spans, found):
    """Where a `Found` starts and ends in characters, without spaces around it."""
    if not len(spans):
        return 0, 0
    start, end = int(spans[found.start, 0]), int(spans[found.end, 1])
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


@dataclasses.dataclass(frozen=True)
class Texts:
    """What a model that reads is given.

    Attributes:
        data: `recipes.data.reading.Passages`.
        tokens: `recipes.text.offsets` tokens.
        questions, contexts: Dicts from the name of a part to lists of int32 arrays.
        spans: Dict from the name of a part to a list of int32 arrays `(T, 2)`, the start and the
            end of each of a passage's tokens, in characters.
    """

    data: object
    tokens: object
    questions: dict
    contexts: dict
    spans: dict

    def batches(self, config, **options):
        """The training batches: all questions of which some token stands for the answer."""
        rows, targets = [], []
        for row, (spans, ((text, start), *_)) in enumerate(
            zip(self.spans["train"], self.data.train.answers, strict=True)
        ):
            inside = tokens_inside(spans, start, start + len(text))
            if len(inside):
                rows.append(row)
                targets.append((inside[0], inside[-1]))
        return flags.call(
            SpanBatches,
            config,
            [self.questions["train"][row] for row in rows],
            [self.contexts["train"][row] for row in rows],
            np.array(targets, "int32"),
            **options,
        )

    def predict(self, config, model, part):
        """The answers of a model to use to the questions of a part, a list of strings."""

        def run(**inputs):
            return model.predict_on_batch(inputs)

        contexts, spans = self.data.splits[part].contexts, self.spans[part]
        texts = [""] * len(contexts)
        rows = self.questions[part], self.contexts[part]
        for row, found in flags.call(find, config, run, *rows):
            start, end = characters(contexts[row], spans[row], found)
            texts[row] = contexts[row][start:end]
        return texts

    def measure(self, config, model, part):
        """The figures of a model to use on a part."""
        right = self.data.splits[part].right
        return answers.measure(right, self.predict(config, model, part), config.metric)


def tokens_inside(spans, start, end):
    """The tokens that overlap some characters of a text.

    >>> tokens_inside(np.array([(0, 2), (3, 5), (5, 9)]), 4, 6).tolist()
    [1, 2]
    """
    return np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > start))


def read(config, data):
    """The `Texts` of a data set; tokens are learned from the training texts."""
    texts = [*dict.fromkeys(data.train.contexts), *dict.fromkeys(data.train.questions)]
    tokens = offsets.learn(config.tokens, texts, config.vocabulary_size)

    def encode(column):
        """Two lists, ids and spans of each text; a text that comes again is read once."""
        known = list(dict.fromkeys(column))
        encoded = dict(zip(known, tokens.encode_all(known), strict=True))
        return zip(*(encoded[text] for text in column), strict=True)

    questions, contexts, spans = {}, {}, {}
    for part, split in data.splits.items():
        questions[part], _ = encode(split.questions)
        contexts[part], spans[part] = encode(split.contexts)
    return Texts(data, tokens, questions, contexts, spans)


def export(model, folder, texts, config):
    """Writes all forms of a reader, with one signature, `ids`.

    Args:
        model: The model to use, see `recipes.question_answering.build_model`.
        folder: Path.
        texts: `Texts`, on whose test part the forms are compared.
        config: A `Config` of the recipe.

    Returns:
        As `kit.exports.export`; the forms agree where the span is the same.
    """
    import tensorflow as tf

    import keras_attention as ka

    count = config.parity_questions
    rows = texts.questions["test"][:count], texts.contexts["test"][:count]

    def samples():
        for question, context in zip(*rows, strict=True):
            yield {
                "question": question[None, : config.max_question],
                "context": context[None, : config.max_context],
            }

    def with_a_step(ids):
        # Of an empty text: TFLite's kernels do not all take none.
        return ops.pad(ids, [[0, 0], [0, ops.maximum(1 - ops.shape(ids)[1], 0)]])

    def read_ids(model, question, context):
        inputs = {"question": with_a_step(question), "context": with_a_step(context)}
        return model(inputs, training=False)

    names = ("question", "context")
    spec = dict.fromkeys(names, tf.TensorSpec((1, None), tf.int32))
    signature = ka.Signature(
        "ids",
        read_ids,
        dict.fromkeys(names, ((None, None), "int32")),
        tf.data.Dataset.from_generator(samples, output_signature=spec),
        decision=lambda outputs: np.stack([outputs["start"], outputs["end"]], axis=-1),
    )
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[signature],
        bounds=BOUNDS,
        files={offsets.FILE: texts.tokens.names},
    )
