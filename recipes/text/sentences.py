"""Sentences of a text of word pieces, by a rule that runs inside a model as well.

A sentence ends after `.`, `!`, `?` or the mark of a paragraph's end, and runs on where another such
mark follows. A full stop before a number (`3.14`) or after a single letter (`e.g.`) ends none. What
gets too long is cut.

`split` is the rule in plain Python, for a phone; `recipes.parts.split_sentences` has the layer that
does the same inside a model.
"""

import re

import numpy as np

PARAGRAPH = "¶"
# Steps of padding behind each sentence in a grid: with the sentences of a text in one row, neither
# n-grams of up to three pieces nor convolutions of up to five reach from one into the next.
GAP = 2
OTHER, MARK, STOP, LETTER, NUMBER = range(5)


def mark_paragraphs(text):
    """The text with a mark in place of the line break that ends an empty line.

    Tokenizers take line breaks for spaces. Every character keeps its place.

    >>> mark_paragraphs("A title\\n\\nFirst line\\nsecond line")
    'A title\\n¶First line\\nsecond line'
    """
    return re.sub(r"(\n[ \t\r]*)\n", r"\1" + PARAGRAPH, text)


def kinds_of(vocabulary):
    """What the rule needs to know of each word piece, int32 `(V,)`."""
    return np.array([_kind(piece) for piece in vocabulary], np.int32)


def _kind(piece):
    if piece == ".":
        return STOP
    if piece in ("!", "?", "。", PARAGRAPH):
        return MARK
    if len(piece) == 1 and piece.isalpha():
        return LETTER
    return NUMBER if piece[:1].isdigit() else OTHER


def split(ids, kinds, max_words):
    """The sentences of a text: a list of lists of ids.

    Args:
        ids: Sequence of integers, the ids of a text's word pieces.
        kinds: What `kinds_of` returns.
        max_words: Integer, pieces in the longest sentence.

    >>> vocabulary = "[PAD] [UNK] . ! pi is 3 e g so".split()
    >>> split([4, 5, 6, 2, 6, 3, 3, 7, 2, 8, 2, 9, 2], kinds_of(vocabulary), max_words=7)
    [[4, 5, 6, 2, 6, 3, 3], [7, 2, 8, 2, 9, 2]]
    """
    sentences, before, second = [], OTHER, OTHER
    for number in map(int, ids):
        kind = int(kinds[number])
        ended = before in (MARK, STOP) and kind not in (MARK, STOP)
        if before == STOP and (kind == NUMBER or second == LETTER):
            ended = False
        if ended or not sentences or len(sentences[-1]) == max_words:
            sentences.append([])
        sentences[-1].append(number)
        before, second = kind, before
    return sentences


def grid(texts, max_words, gap=GAP):
    """Sentences of texts, as `split` gives them, in one padded array `(B, N, W + gap)`."""
    count = max([1, *map(len, texts)])
    ids = np.zeros((len(texts), count, max_words + gap), np.int32)
    for row, sentences in zip(ids, texts, strict=True):
        for cells, sentence in zip(row, sentences, strict=False):
            cells[: len(sentence)] = sentence
    return ids
