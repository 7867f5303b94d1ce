"""Attention maps of a tagger's intents, to be tested; see `kit.explaining`."""

import numpy as np

from recipes.data import tagged
from recipes.kit import explaining, flags, run_folder
from recipes.text import token_features

_BATCH = 64


def write(config, recipe, config_class):
    """Tests the maps of a trained tagger and writes a page; arguments as of `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(tagged.TagReader, settings).load(settings.data)
        from recipes.parts import tagger  # noqa: F401  (the layers of the model)

        vocabulary, intents = (run_folder.read_lines(folder / name) for name in files)
        return maps_of(settings, run_folder.load_model(folder), data, vocabulary, intents)

    files = ("features.txt", "intents.txt")
    explaining.write(config, recipe, config_class, of_folder, files)


def maps_of(config, model, data, vocabulary, intents):
    """The maps of the intents of `config.explained` test sentences: of tokens.

    Args:
        config: A `recipes.tagging.Config`.
        model: Keras model from ids `(B, T, 4)` to a dict, with `intent_probability` `(B, I)` and
            `intent_weights` `(B, T)` where it tells intents.
        data: `recipes.data.tagged.TaggedSentences`.
        vocabulary: List of the features of tokens.
        intents: List of strings, empty if it tells none.

    Returns:
        List of `explaining.Maps`, empty for a model without intents.
    """
    rows = explaining.chosen(config.explained, len(data.test.tokens))
    if not intents or not len(rows):
        return []
    from recipes.parts import tagger

    words = [data.test.words[row] for row in rows]
    index = token_features.index_of(vocabulary)
    ids = [token_features.encode(index, sentence) for sentence in words]
    ids = tagger.padded(ids, max(map(len, ids)))  # (B, T, 4)

    def predict(ids):
        return model.predict_on_batch(ids)["intent_probability"]

    outputs = [
        model.predict_on_batch(ids[start : start + _BATCH])
        for start in range(0, len(ids), _BATCH)
    ]  # fmt: skip
    weights, probabilities = (
        np.concatenate([one[name] for one in outputs])
        for name in ("intent_weights", "intent_probability")
    )
    headings = [f"{intents[p.argmax()]} {p.max():.3f}" for p in probabilities]
    return [explaining.Maps(predict, ids, weights, "token", words, headings)]
