"""Questions and passages as ids: batches to train on, windows of long passages, answers found.

texts = read(config, data)             # `config` of the recipe, `data` as `reading.load` gives it
batches = texts.batches(config, shuffle_seed=0)
figures = texts.measure(config, model, "validation")
"""

import dataclasses

import numpy as np

from recipes.data.batches import Batches, pad
from recipes.kit import answers
from recipes.text import offsets

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
        self._question_width = max(1, *map(len, self._questions))  # one for all: they are short
        lengths = [min(len(row), max_context) for row in contexts]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, rows, width):
        rng = np.random.default_rng((self._seed or 0, self._epoch, int(rows[0])))
        begins = [self._begin(row, rng) for row in rows]
        contexts = [
            self._contexts[row][begin : begin + self._longest]
            for row, begin in zip(rows, begins, strict=True)
        ]
        inputs = {
            "question": pad([self._questions[row] for row in rows], self._question_width),
            "context": pad(contexts, width),
        }
        targets = self._targets[rows] - np.array(begins, "int32")[:, None]
        targets = np.minimum(targets, [[len(context) - 1] for context in contexts])
        return inputs, {"start": targets[:, 0], "end": targets[:, 1]}

    def _begin(self, row, rng):
        """Where the window of a passage begins."""
        first, last = self._targets[row]
        spare = max(0, len(self._contexts[row]) - self._longest)
        low, high = max(0, last + 1 - self._longest), min(spare, first)
        return int(rng.integers(low, high + 1)) if low <= high else int(high)


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


def find(run, questions, contexts, *, max_context, max_question, overlap, batch_size=32):
    """Yields the best span of each passage for its question; a long one is read in windows.

    Args:
        run: Function of `question` and `context`, int32 `(B, S)` and `(B, T)`, to a dict of arrays,
            see `recipes.question_answering.build_model`.
        questions, contexts: Lists of int32 arrays.
        max_context, max_question: Integers, steps that are read at once.
        overlap: Integer, steps that two windows share, at least.
        batch_size: Integer, windows that are read at once.

    Yields:
        Pairs of a row and its `Found`, in any order.
    """
    questions = [row[:max_question] for row in questions]
    begins = [windows(len(row), max_context, overlap) for row in contexts]
    # By length, and all windows of a passage in one batch.
    order = sorted(range(len(contexts)), key=lambda row: (len(begins[row]), len(contexts[row])))
    while order:
        rows = [order.pop()]
        count = len(begins[rows[0]])
        while order and count + len(begins[order[-1]]) <= batch_size:
            rows.append(order.pop())
            count += len(begins[rows[-1]])
        pairs = [(row, begin) for row in rows for begin in begins[row]]
        parts = [contexts[row][begin : begin + max_context] for row, begin in pairs]
        outputs = run(
            question=_rounded([questions[row] for row, _ in pairs]), context=_rounded(parts)
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


@dataclasses.dataclass(frozen=True)
class Texts:
    """What a model that reads is given.

    Attributes:
        data: `recipes.data.reading.Passages`.
        tokens: `recipes.text.offsets` tokens.
        metric: One of `recipes.kit.answers.METRICS`.
        questions, contexts: Dicts from the name of a part to lists of int32 arrays.
        spans: Dict from the name of a part to a list, the spans of each passage's tokens.
    """

    data: object
    tokens: object
    metric: str
    questions: dict
    contexts: dict
    spans: dict

    def batches(self, config, **options):
        """The training batches: all questions of which some token stands for the answer."""
        train = self.data.train
        targets = np.array(
            [
                token_span(spans, start, start + len(text))
                for spans, ((text, start), *_) in zip(
                    self.spans["train"], train.answers, strict=True
                )
            ],
            "int32",
        )
        kept = np.flatnonzero(targets[:, 0] >= 0)
        return SpanBatches(
            [self.questions["train"][row] for row in kept],
            [self.contexts["train"][row] for row in kept],
            targets[kept],
            config.batch_size,
            max_context=config.max_context,
            max_question=config.max_question,
            **options,
        )

    def found(self, config, model, part):
        """The answers of a model to use to the questions of a part, a list of strings."""
        split = self.data.splits[part]
        texts = [""] * len(split)
        sizes = {"max_context": config.max_context, "max_question": config.max_question}
        rows = self.questions[part], self.contexts[part]

        def run(**inputs):
            return model.predict_on_batch(inputs)

        for row, found in find(run, *rows, overlap=config.max_answer, **sizes):
            texts[row] = told(split.contexts[row], self.spans[part][row], found)[2]
        return texts

    def measure(self, config, model, part):
        """The figures of a model to use on a part."""
        found = self.found(config, model, part)
        return answers.measure(self.data.splits[part].right, found, self.metric)


def read(config, data):
    """The `Texts` of a data set; tokens are learned from the training texts."""
    is_spaced = offsets.is_spaced(dict.fromkeys(data.train.contexts))
    kind = config.tokens or ("pieces" if is_spaced else "characters")
    metric = config.metric or ("words" if is_spaced else "characters")
    texts = [*dict.fromkeys(data.train.contexts), *dict.fromkeys(data.train.questions)]
    tokens = offsets.learn(kind, texts, config.vocabulary_size)
    known = list(
        dict.fromkeys(
            text for split in data.splits.values() for text in (*split.contexts, *split.questions)
        )
    )
    known = dict(zip(known, tokens.encode_all(known), strict=True))

    def encode(column):
        return [known[text] for text in column]

    contexts = {part: encode(split.contexts) for part, split in data.splits.items()}
    return Texts(
        data,
        tokens,
        metric,
        {part: [ids for ids, _ in encode(split.questions)] for part, split in data.splits.items()},
        {part: [ids for ids, _ in rows] for part, rows in contexts.items()},
        {part: [spans for _, spans in rows] for part, rows in contexts.items()},
    )


def token_span(spans, start, end):
    """The first and the last token that overlap some characters of a text; -1 if none does.

    >>> token_span([(0, 2), (3, 5), (5, 9)], 4, 6), token_span([(0, 2)], 2, 3)
    ((1, 2), (-1, -1))
    """
    inside = [n for n, (first, last) in enumerate(spans) if first < end and last > start]
    return (inside[0], inside[-1]) if inside else (-1, -1)


def told(context, spans, found):
    """Start and end of a `Found` in characters, and its text without spaces around it."""
    if not spans:
        return 0, 0, ""
    start, end = (
        spans[min(found.start, len(spans) - 1)][0],
        spans[min(found.end, len(spans) - 1)][1],
    )
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip()), text.strip()
