"""Attention maps of a translator, to be tested; see `kit.explaining`.

The decision is the next word piece after those of a reference translation, at a step drawn for each
sentence. What is removed are words of the sentence that is translated.
"""

import dataclasses

import numpy as np

from recipes.kit import explaining, run_folder
from recipes.maps.arrays import softmax, width_of
from recipes.text import languages, wordpiece
from recipes.text.languages import END, START, Languages

_BATCH = 32
_STEP = 8  # widths that sentences are padded to are multiples of it


def write(config, recipe, config_class, load_data):
    """Tests the maps of a trained translator and writes a page; arguments as in `maps.texts`."""

    def of_folder(folder, settings):
        data, sides = load_data(settings), Languages.load(folder)
        return maps_of(settings, run_folder.load_model(folder), data.test, sides)

    explaining.write(config, recipe, config_class, of_folder, languages.FILES)


def maps_of(config, model, split, sides):
    """The maps of `config.explained` test sentences: of their words.

    Args:
        config: A `recipes.translation.Config`.
        model: Keras model of `source` `(B, S)` and `target` `(B, T)` to logits `(B, T, V)`.
        split: `recipes.data.pairs.Split`.
        sides: `Languages`.

    Returns:
        List of `explaining.Maps`.
    """
    from recipes.data.batches import pad

    rng = np.random.default_rng(explaining.SEED)
    numbers = explaining.chosen(config.explained, len(split.sources))
    sentences = [
        _Sentence.of(split.sources[number], split.targets[number], sides, rng) for number in numbers
    ]
    sentences = [sentence for sentence in sentences if sentence.spans]
    if not sentences:
        return []

    def predict(sentences):
        source = [np.append(sentence.ids, END) for sentence in sentences]
        given = [np.insert(sentence.written, 0, START) for sentence in sentences]
        inputs = {
            name: pad(rows, width_of(rows, _STEP))
            for name, rows in (("source", source), ("target", given))
        }
        logits = model.predict_on_batch(inputs)  # (B, T, V)
        last = [len(row) - 1 for row in given]
        return softmax(logits[np.arange(len(given)), last])

    def remove(sentences, keep):
        return [sentence.kept(row) for sentence, row in zip(sentences, keep, strict=True)]

    weights, mask = explaining.of_parts([sentence.weights(model) for sentence in sentences])
    best = [
        sides.target[number]
        for start in range(0, len(sentences), _BATCH)
        for number in predict(sentences[start : start + _BATCH]).argmax(axis=1)
    ]
    headings = [
        f"{sides.text(sentence.written)} [{piece}]"
        for sentence, piece in zip(sentences, best, strict=True)
    ]
    return [
        explaining.Maps(
            predict,
            sentences,
            weights,
            "word",
            [(sentence.text, sentence.spans) for sentence in sentences],
            headings,
            {"remove": remove, "mask": mask, "batch_size": _BATCH},
            ", the next piece of a reference translation at a step drawn for each",
        )
    ]


@dataclasses.dataclass(frozen=True)
class _Sentence:
    """A sentence and the beginning of its translation.

    Attributes:
        text: String.
        ids: int32 array `(S,)`, its pieces, without the end.
        words: Integers `(S,)`, the word of each piece.
        spans: List of the `(start, end)` of each word.
        written: int32 array, the pieces that are written before the step.
    """

    text: str
    ids: np.ndarray
    words: np.ndarray
    spans: list
    written: np.ndarray

    @classmethod
    def of(cls, text, translation, sides, rng):
        reader, other = sides.readers
        ids, pieces = wordpiece.piece_spans(reader, text)
        words, spans = wordpiece.words_of(sides.source, ids, pieces)
        (written,) = wordpiece.tokenize(other, [translation])
        return cls(text, ids, words, spans, written[: rng.integers(0, max(1, len(written)))])

    def kept(self, keep):
        """The same with the words alone for which `keep` is True."""
        is_kept = keep[self.words]
        return dataclasses.replace(self, ids=self.ids[is_kept], words=self.words[is_kept])

    def weights(self, model):
        """How much each word was looked at for the next piece, `(U,)`."""
        import keras_attention as ka

        source, target = np.append(self.ids, END), np.insert(self.written, 0, START)
        maps = ka.attention_maps(model, {"source": source[None], "target": target[None]})
        of_memory = [name for name in maps if name == "decoder" or name.endswith("memory")]
        row = np.mean(
            [maps[name].reshape(-1, *maps[name].shape[-2:])[:, -1] for name in of_memory], (0, 1)
        )
        return np.bincount(self.words, row[: len(self.ids)])
