"""Attention maps of a language model, to be tested; see `kit.explaining`.

The decision is the next token after some tokens of a test text. What is removed are tokens before
the last one, which asks and always stays. For blocks of self-attention a removed token is one of
another segment, which no other sees; all others stay at their positions. A recurrent network would
forget everything there, so it reads on as if the token had not been in the text.
"""

import numpy as np

from recipes.data import corpora
from recipes.kit import explaining, flags, run_folder
from recipes.maps.arrays import softmax, width_of
from recipes.text import tokens as text_tokens
from recipes.text.tokens import BORDER

LENGTH = 64  # tokens that are read: leave-one-out predicts once without each
_BATCH = 32
_STEP = 16  # widths that tokens are padded to are multiples of it


def write(config, recipe, config_class):
    """Tests the maps of a trained language model and writes a page.

    Args:
        config, recipe, config_class: As for `explaining.write`.
    """

    def of_folder(folder, settings):
        data = flags.call(corpora.CorpusReader, settings).load(settings.data)
        from recipes.parts import language_model  # noqa: F401  (the layers of the model)

        known = text_tokens.load(folder)
        documents = [known.encode(text) for text in data.test.texts]
        return maps_of(settings, run_folder.load_model(folder), documents, known)

    explaining.write(config, recipe, config_class, of_folder, [text_tokens.FILE])


def maps_of(config, model, documents, known):
    """The maps of `config.explained` places in test texts: of the tokens before.

    Args:
        config: A `recipes.language_modeling.Config` with its `context`.
        model: A language model, as `parts.language_model` describes it.
        documents: List of int32 arrays, the tokens of the test texts.
        known: `recipes.text.tokens.Characters` or `Pieces`.

    Returns:
        List of `explaining.Maps`.
    """
    import keras_attention as ka
    from recipes.data.batches import pad
    from recipes.parts import language_model

    contexts = _contexts(documents, config.explained, min(LENGTH, config.context))
    if not contexts:
        return []
    has_blocks = config.architecture == "transformer"

    def predict(contexts):
        """Probabilities of the next tokens; a context is its tokens, and which of them are left."""
        if not has_blocks:
            contexts = [(ids[is_left], is_left[is_left]) for ids, is_left in contexts]
        rows = [ids for ids, _ in contexts]
        width = width_of(rows, _STEP)
        segments = [~is_left for _, is_left in contexts]
        inputs = {"tokens": pad(rows, width), "segment_ids": pad(segments, width)}
        logits = model.predict_on_batch(inputs)  # (B, T, V)
        return softmax(logits[np.arange(len(rows)), [len(row) - 1 for row in rows]])

    def remove(contexts, keep):
        return [
            (ids, np.append(row[: len(ids) - 1], True))
            for (ids, _), row in zip(contexts, keep, strict=True)
        ]

    def looked_at(ids):
        """How much the last token looked at each before it: the mean over the last heads."""
        given = {"tokens": ids[None], "segment_ids": np.zeros_like(ids[None])}
        *_, last = ka.attention_maps(model, given).values()  # (1, H, T, T)
        return last[0, :, -1, :-1].mean(axis=0)

    weights, mask = explaining.of_parts([looked_at(ids) for ids in contexts])
    contexts = [(ids, np.ones(len(ids), bool)) for ids in contexts]
    best = [
        number
        for start in range(0, len(contexts), _BATCH)
        for number in predict(contexts[start : start + _BATCH]).argmax(axis=1)
    ]
    names = [language_model.names(known, ids) for ids, _ in contexts]
    following = language_model.names(known, best)
    return [
        explaining.Maps(
            predict,
            contexts,
            weights,
            "token",
            [row[:-1] for row in names],
            [f"{row[-1]} [{name}]" for row, name in zip(names, following, strict=True)],
            {"remove": remove, "mask": mask, "batch_size": _BATCH},
            f", the next token after at most {min(LENGTH, config.context)} tokens",
        )
    ]


def _contexts(documents, count, length):
    """At most `count` parts of documents, of 2 to `length` tokens, that end anywhere but the end.

    >>> _contexts([np.array([5, 6, 7], "int32")], count=9, length=2)
    [array([2, 5], dtype=int32), array([5, 6], dtype=int32)]
    """
    whole = [np.insert(document, 0, BORDER).astype("int32") for document in documents]
    ends = np.cumsum([len(ids) - 2 for ids in whole])  # of the places in each document
    places = explaining.chosen(count, ends[-1])
    rows = np.searchsorted(ends, places, side="right")
    contexts = []
    for row, place in zip(rows, places, strict=True):
        end = len(whole[row]) - (ends[row] - place)
        contexts.append(whole[row][max(0, end - length) : end])
    return contexts
