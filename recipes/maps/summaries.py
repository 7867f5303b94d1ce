"""Attention maps of a summarizer, to be tested; see `kit.explaining`.

The decision is the next word after those of a reference summary, at a step drawn for each document:
a word of the vocabulary or one that is copied. What is removed are words of the document; the rest
moves together, and a word keeps its number among those that can be copied.
"""

import dataclasses

import numpy as np

from recipes.data import summaries as summary_data
from recipes.kit import explaining, flags, run_folder
from recipes.maps.arrays import softmax, width_of
from recipes.text import copyable
from recipes.text.copyable import START, Copyable

WORDS = 200  # of a document that are read: leave-one-out predicts once without each
_BATCH = 32
_STEP = 32  # widths that documents are padded to are multiples of it


def write(config, recipe, config_class):
    """Tests the maps of a trained summarizer, writes a page; arguments as in `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(summary_data.SummaryReader, settings).load(settings.data)
        from recipes.parts import pointer_generator  # noqa: F401  (the layers of the model)

        known = Copyable.load(folder, settings.max_document)
        return maps_of(settings, run_folder.load_model(folder), data.test, known)

    explaining.write(config, recipe, config_class, of_folder, copyable.FILES)


def maps_of(config, model, split, known):
    """The maps of `config.explained` test documents: of their words.

    Args:
        config: A `recipes.summarization.Config`.
        model: The model to use, which copies, as `parts.pointer_generator` describes it.
        split: `recipes.data.summaries.Split`.
        known: `recipes.text.copyable.Copyable`.

    Returns:
        List of `explaining.Maps`.
    """
    rows = explaining.chosen(config.explained, len(split.documents))
    if not len(rows):
        return []
    documents = _Document.read(split.take(rows), known)
    if not documents:
        return []
    reader = _Reader(model, known.known, documents)
    found = [
        one
        for start in range(0, len(documents), _BATCH)
        for one in zip(*reader.read(documents[start : start + _BATCH]), strict=True)
    ]
    weights, mask = explaining.of_parts(
        [row[: len(one.source)] for one, (_, row) in zip(documents, found, strict=True)]
    )
    headings = []
    for one, (probability, _) in zip(documents, found, strict=True):
        *written, best = known.names([*one.written, probability.argmax()], one.names)
        headings.append(f"{' '.join(written)} [{best}]")

    def remove(documents, keep):
        return [one.kept(row) for one, row in zip(documents, keep, strict=True)]

    return [
        explaining.Maps(
            lambda documents: reader.read(documents)[0],
            documents,
            weights,
            "word",
            [(one.text, one.spans) for one in documents],
            headings,
            {"remove": remove, "mask": mask, "batch_size": _BATCH},
            f", each cut after {WORDS} words, the next word of a reference summary at a step drawn "
            "for each",
        )
    ]


@dataclasses.dataclass(frozen=True)
class _Document:
    """A document and the beginning of its summary.

    Attributes:
        text: String, cut after the last word that is read.
        names: List of strings, all words of the document.
        spans: List of the `(start, end)` of each word that is read.
        source: int32 array `(S,)`, these words.
        written: int32 array, the words of the summary before the step.
    """

    text: str
    names: list
    spans: list
    source: np.ndarray
    written: np.ndarray

    @classmethod
    def read(cls, split, known):
        """The documents of a split that have words, with their first references."""
        rng = np.random.default_rng(explaining.SEED)
        rows = range(len(split.documents))
        sources, pieces = known.sources(split.documents)
        targets = known.targets([texts[0] for texts in split.summaries], rows, pieces)
        documents = []
        for text, source, target in zip(split.documents, sources, targets, strict=True):
            written = target[: rng.integers(0, max(1, len(target)))]
            spans = known.spans(text)
            names = [text[start:end] for start, end in spans]
            source, spans = source[:WORDS], spans[: min(WORDS, len(source))]
            if spans:
                documents.append(cls(text[: spans[-1][1]], names, spans, source, written))
        return documents

    def kept(self, keep):
        """The same with the words alone for which `keep` is True."""
        return dataclasses.replace(self, source=self.source[keep[: len(self.source)]])


class _Reader:
    """The model, asked for the next word.

    Args:
        model: The model to use.
        known: Integer, the words that can be generated.
        documents: List of `_Document`, all that it will be asked about.
    """

    def __init__(self, model, known, documents):
        import keras

        # What the model mixes: logits of the known words, the gate and the attention weights.
        logits, _, _, gate, weights = model.get_layer("likelihood").input
        inputs = {name: model.input[name] for name in ("source", "target")}
        outputs = {"logits": logits, "gate": gate, "weights": weights}
        self._model, self._known = keras.Model(inputs, outputs), known
        self._size = known + max(len(one.names) for one in documents)
        self._steps = 1 + max(len(one.written) for one in documents)

    def read(self, documents):
        """Probabilities `(B, V)` of the next words, those that can be copied among them, and the
        weights `(B, S)` of the words of the documents.
        """
        from recipes.data.batches import pad

        sources = [one.source for one in documents]
        source = pad(sources, width_of(sources, _STEP))
        target = pad([[START, *one.written] for one in documents], self._steps)
        outputs = self._model.predict_on_batch({"source": source, "target": target})
        rows = np.arange(len(documents))
        last = [len(one.written) for one in documents]
        logits, gate, weights = (outputs[n][rows, last] for n in ("logits", "gate", "weights"))
        found = np.zeros((len(documents), self._size))
        found[:, : self._known] = gate * softmax(logits)
        np.add.at(found, (rows[:, None], source), (1 - gate) * weights)
        return found, weights
