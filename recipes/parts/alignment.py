"""Where a sequence-to-sequence model looked while it wrote each word."""

import numpy as np

import keras_attention as ka
from recipes.text import wordpiece
from recipes.text.languages import END, START, words


def figure(model, text, translation, languages):
    """The picture of `alignment`: words of the translation down the side."""
    return ka.plot_alignment(*alignment(model, text, translation, languages))


def alignment(model, text, translation, languages):
    """How much the model looked at each word while it wrote each word of a translation.

    The attention weights of the decoder, in the transformer those of its last block but one,
    averaged over the heads; the pieces of a word are taken together.

    Returns:
        Weights `(T, S)`, and two lists: T words of the translation and S of the text. Both end with
        the end of the sentence.
    """
    rows = [
        np.append(wordpiece.tokenize(reader, [one])[0], END)
        for reader, one in zip(languages.readers, (text, translation), strict=True)
    ]
    source, target = rows
    given = np.insert(target[:-1], 0, START)
    maps = ka.attention_maps(model, {"source": source[None], "target": given[None]})
    if "decoder" in maps:
        weights = maps["decoder"][0]
    else:
        blocks = [name for name in maps if name.startswith("decoder_block")]
        weights = maps[[name for name in blocks if name.endswith("memory")][-2:][0]][0].mean(0)
    target_words, starts = words(target, languages.target)
    source_words, source_starts = words(source, languages.source)
    weights = np.add.reduceat(weights, source_starts, axis=1)
    counts = np.diff([*starts, len(target)])
    return np.add.reduceat(weights, starts, axis=0) / counts[:, None], target_words, source_words
