"""Whole words as ids, for captions: a vocabulary, and the way there and back."""

import itertools
from collections import Counter

import numpy as np

from recipes.data.captions import words

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("[PAD]", "[START]", "[END]", "[UNK]")


def learn(captions, min_count):
    """The special tokens and the words, the most frequent first.

    >>> learn([["A dog .", "A dog runs."], ["Dog"]], min_count=2)
    ['[PAD]', '[START]', '[END]', '[UNK]', 'dog', 'a']
    """
    counts = Counter(
        word for of_image in captions for caption in of_image for word in words(caption)
    )
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return [*SPECIAL, *(word for word in ordered if counts[word] >= min_count)]


def encode(vocabulary, captions, max_words, mirrored=False):
    """For each image a list of int32 arrays, from the start to the end token.

    What is longer than `max_words` is cut, and has no end. For the caption of a mirror image left
    and right are exchanged.
    """
    ids = {word: number for number, word in enumerate(vocabulary)}
    if mirrored:
        ids["left"], ids["right"] = (ids.get(word, UNKNOWN) for word in ("right", "left"))

    def one(caption):
        numbers = [ids.get(word, UNKNOWN) for word in words(caption)]
        numbers = [START, *numbers, END][: 1 + max_words]
        return np.array(numbers, "int32")

    return [[one(caption) for caption in some] for some in captions]


def decode(vocabulary, ids):
    """The words of `(N, L)` ids up to the end token, one string for each row."""
    texts = []
    for row in np.asarray(ids):
        until_end = itertools.takewhile(lambda number: number not in (END, PAD), row)
        texts.append(" ".join(vocabulary[number] for number in until_end))
    return texts
