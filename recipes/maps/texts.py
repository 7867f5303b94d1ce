"""Attention maps of classifiers of texts and of documents, to be tested; see `kit.explaining`.

maps = maps_of(config, model, data, vocabulary)    # when it is trained
write(config, NAME, Config, load_data)             # later, the command `explain`
"""

import dataclasses

import numpy as np

from recipes.kit import explaining, run_folder
from recipes.maps.arrays import width_of
from recipes.text import classifier, wordpiece

WORDS = 256  # of a text that are read: leave-one-out predicts once without each
OF_PRETRAINED = 64  # the same for a pretrained encoder, which is some hundred times slower
_BATCH = 32
_STEP = 32  # widths that texts are padded to are multiples of it


def write(config, recipe, config_class, load_data):
    """Tests the maps of a trained classifier and writes a page.

    Args:
        config: An `ExplainConfig`.
        recipe: String, the recipe's name.
        config_class: The recipe's `Config`.
        load_data: Function from such a config to its `LabelledTexts`.
    """

    def of_folder(folder, settings):
        data = load_data(settings)
        from recipes.parts import encoders, ngrams  # noqa: F401  (the layers of the model)

        vocabulary, labels = (run_folder.read_lines(folder / name) for name in classifier.FILES)
        return maps_of(settings, run_folder.load_model(folder), data, vocabulary, labels)

    explaining.write(config, recipe, config_class, of_folder, classifier.FILES)


def maps_of(config, model, data, vocabulary, labels=None):
    """The maps of `config.explained` test texts: of words, and of documents also of sentences.

    Args:
        config: A `classifier.EncoderConfig`.
        model: Keras model from ids `(B, T)` to a dict of `probability` and of `weights` `(B, T)`,
            or `words`, `sentences` and `grid`.
        data: `recipes.data.texts.LabelledTexts`.
        vocabulary: List of word pieces.
        labels: List of strings; those of the data if `None`.

    Returns:
        List of `explaining.Maps`.
    """
    most = WORDS if config.encoder in classifier.ENCODERS else OF_PRETRAINED
    texts = [data.test.texts[n] for n in explaining.chosen(config.explained, len(data.test.texts))]
    tokenizer = wordpiece.tokenizer_of(vocabulary)
    read = [
        _Text.of(text, most, vocabulary, *found)
        for text, found in zip(texts, wordpiece.spans_of_many(tokenizer, texts), strict=True)
    ]
    read = [text for text in read if text.spans]
    if not read:
        return []
    ids = _padded([text.ids for text in read], 0)  # (N, T)
    labels = labels or data.labels

    def predict(ids):
        return model.predict_on_batch(_trimmed(ids))["probability"]

    said = [
        one
        for start in range(0, len(ids), _BATCH)
        for one in _said(model, _trimmed(ids[start : start + _BATCH]))
    ]
    rows = {name: _padded([one.by_piece[name] for one in said], 0.0) for name in said[0].by_piece}
    weights = rows.pop("weights")
    headings = [f"{labels[p.argmax()]} {p.max():.3f}" for p in (one.probability for one in said)]

    def maps(unit, groups, shown):
        options = {"groups": _padded(groups, -1), "rivals": rows}
        note = f", each cut after {most} words"
        return explaining.Maps(predict, ids, weights, unit, shown, headings, options, note)

    found = [maps("word", [x.words for x in read], [(x.text, x.spans) for x in read])]
    if said[0].sentence is not None:
        groups = [one.sentence for one in said]
        spans = [x.spans_of(group) for x, group in zip(read, groups, strict=True)]
        shown = [(x.text, of_text) for x, of_text in zip(read, spans, strict=True)]
        found.append(maps("sentence", groups, shown))
    return found


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text as it is read.

    Attributes:
        text: String, cut after the last word that is read.
        ids: int32 array `(T,)`, its pieces.
        words: Integers `(T,)`, the word of each piece.
        spans: List of the `(start, end)` of each word.
        pieces: List of the `(start, end)` of each piece.
    """

    text: str
    ids: np.ndarray
    words: np.ndarray
    spans: list
    pieces: list

    @classmethod
    def of(cls, text, most, vocabulary, ids, pieces):
        words, spans = wordpiece.words_of(vocabulary, ids, pieces)
        count = int((words < most).sum())
        spans = spans[:most]
        end = spans[-1][1] if spans else 0
        return cls(text[:end], ids[:count], words[:count], spans, pieces[:count])

    def spans_of(self, groups):
        """The spans of groups of pieces, such as sentences."""
        return wordpiece.merged(groups, self.pieces)


@dataclasses.dataclass(frozen=True)
class _Said:
    """What the model says of a text: of each class, of each piece, and which sentence it is in."""

    probability: np.ndarray
    by_piece: dict
    sentence: np.ndarray | None = None


def _said(model, ids):
    """Yields `_Said` of each text of a batch."""
    outputs = model.predict_on_batch(ids)
    gradients = _gradients(model, ids)
    for row, probability in enumerate(outputs["probability"]):
        count = int((ids[row] > 0).sum())
        is_piece = np.arange(ids.shape[1]) < count
        weights, sentence = outputs.get("weights"), None
        if weights is not None:
            weights = weights[row]
        else:  # the pieces in the grid, row by row, are those of the text
            is_piece = outputs["grid"][row] > 0  # (N, W)
            weights = outputs["words"][row] * outputs["sentences"][row][:, None]
            _, sentence = np.unique(np.nonzero(is_piece)[0], return_inverse=True)
        by_piece = {"weights": weights}
        by_piece |= {name: x[row] for name, x in gradients.items()}
        if "evidence" in outputs:
            evidence = outputs["evidence"][row]  # (T, C), or of sentences (N, C)
            evidence = evidence[:, probability.argmax()] - evidence.mean(axis=-1)
            if sentence is not None:
                evidence = evidence[:, None] * outputs["words"][row]
            by_piece["evidence for the class"] = evidence
        yield _Said(probability, {name: x[is_piece] for name, x in by_piece.items()}, sentence)


def _gradients(model, ids):
    """Explanations by gradients, where the vectors of the pieces are all that the model reads."""
    import keras

    import keras_attention as ka

    layers = {layer.name: layer for layer in model.layers}
    if "evidence" in layers or not isinstance(layers.get("pieces"), keras.layers.Embedding):
        return {}
    if "grid" in model.output:  # which has as many sentences as the longest text of a batch
        return {}
    methods = {
        "gradient x input": ka.gradient_times_input, "integrated gradients": ka.integrated_gradients
    }  # fmt: skip
    return {
        name: method(model, ids, layer="pieces", output="probability", batch_size=_BATCH)
        for name, method in methods.items()
    }


def _padded(rows, padding):
    """The rows as one array, padded at the right."""
    padded = np.full((len(rows), max(map(len, rows))), padding, np.asarray(rows[0]).dtype)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _trimmed(ids):
    """The ids without most of the padding that all rows have."""
    return ids[:, : width_of([row[row > 0] for row in ids], _STEP)]
