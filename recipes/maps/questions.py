"""Attention maps of a reader of passages, to be tested; see `kit.explaining`.

The decision is where the answer begins: the probabilities are of the steps of the passage. What is
removed are words of the question, by how much the step where the answer begins looked at them. They
become padding at their places, which no layer reads.
"""

import dataclasses

import numpy as np

from recipes.data import reading
from recipes.kit import explaining, flags, run_folder
from recipes.maps.arrays import softmax, width_of
from recipes.parts import answered
from recipes.text import offsets

_BATCH = 16
_STEPS = {"question": 16, "context": 64}  # lengths that texts are padded to are multiples


def write(config, recipe, config_class):
    """Tests the maps of a trained reader and writes a page; arguments as of `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(reading.PassageReader, settings).load(settings.data)
        from recipes.parts import attention_flow  # noqa: F401  (the layers of the model)

        tokens = offsets.load(folder, settings.tokens)
        return maps_of(settings, run_folder.load_model(folder), data.test, tokens)

    explaining.write(config, recipe, config_class, of_folder, [offsets.FILE])


def maps_of(config, model, split, tokens):
    """The maps of `config.explained` test questions: of their words, or characters.

    Args:
        config: A `recipes.question_answering.Config` without open options.
        model: The model to use, see `recipes.question_answering.build_model`.
        split: `recipes.data.reading.Split`.
        tokens: `recipes.text.offsets` tokens.

    Returns:
        List of `explaining.Maps`, empty for a model whose passages do not look at the question.
    """
    numbers = explaining.chosen(config.explained, len(split.questions))
    if not len(numbers) or not config.context_to_question:
        return []
    asked = [_Asked.of(config, tokens, split, number) for number in numbers]
    asked = [one for one in asked if len(one.context) and one.spans]
    if not asked:
        return []
    reader = _Reader(model, max(len(one.context) for one in asked))

    def remove(asked, keep):
        return [one.kept(row) for one, row in zip(asked, keep, strict=True)]

    rows, headings = [], []
    for one in asked:
        (probability,), (weights,) = reader.read([one])
        start = probability.argmax()  # of the answer
        rows.append(np.bincount(one.words, weights[start][: len(one.question)]))
        from_there = one.passage[one.context_spans[start, 0] :].split()
        headings.append(f"{' '.join(from_there)[:40]} ... {probability.max():.3f}")
    weights, mask = explaining.of_parts(rows)
    return [
        explaining.Maps(
            lambda asked: reader.read(asked)[0],
            asked,
            weights,
            {"pieces": "word", "characters": "character"}[config.tokens],
            [(one.text, one.spans) for one in asked],
            headings,
            {"remove": remove, "mask": mask, "batch_size": _BATCH},
            f", each passage cut after {config.max_context} {config.tokens}",
        )
    ]


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A question about a passage.

    Attributes:
        text, passage: Strings.
        question, context: int32 arrays `(S,)` and `(T,)`, their tokens.
        words: Integers `(S,)`, the word of each token of the question.
        spans: List of the `(start, end)` of each of these words.
        context_spans: Integers `(T, 2)`, start and end of each token of the passage.
    """

    text: str
    passage: str
    question: np.ndarray
    context: np.ndarray
    words: np.ndarray
    spans: list
    context_spans: np.ndarray

    @classmethod
    def of(cls, config, tokens, split, number):
        text, passage = split.questions[number], split.contexts[number]
        question, spans = (part[: config.max_question] for part in tokens.encode(text))
        context, places = (part[: config.max_context] for part in tokens.encode(passage))
        first, spans = answered.words_of(tokens, question, spans)
        words = np.searchsorted(first, np.arange(len(question)), side="right") - 1
        return cls(text, passage, question, context, words, spans, places)

    def kept(self, keep):
        """The same with padding in place of the words for which `keep` is False."""
        return dataclasses.replace(self, question=np.where(keep[self.words], self.question, 0))


class _Reader:
    """The model, asked where answers begin.

    Args:
        model: The model to use.
        steps: Integer T, the tokens of the longest passage.
    """

    def __init__(self, model, steps):
        import keras

        start, _ = model.get_layer("best").input
        outputs = {"start": start, "weights": model.output["weights"]}
        self._model, self._steps = keras.Model(model.input, outputs), steps

    def read(self, asked):
        """The probabilities `(B, T)` of the steps of the passages, and the weights over the
        questions' tokens, from each step.
        """
        from recipes.data.batches import pad

        inputs = {
            name: pad(rows, width_of(rows, _STEPS[name]))
            for name, rows in (
                ("question", [one.question for one in asked]),
                ("context", [one.context for one in asked]),
            )
        }
        outputs = self._model.predict_on_batch(inputs)
        found = np.zeros((len(asked), self._steps))  # batches have passages of different lengths
        start = softmax(outputs["start"])[:, : self._steps]
        found[:, : start.shape[1]] = start
        return found, outputs["weights"]
