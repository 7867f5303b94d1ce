"""Sentences of a text of word pieces, by a rule that runs inside a model as well.

A sentence ends after `.`, `!`, `?` or the mark of a paragraph's end, and runs on where another such
mark follows. A full stop before a number (`3.14`) or after a single letter (`e.g.`) ends none. What
gets too long is cut.

`split` is the rule in plain Python, for a phone; `SplitSentences` does the same inside a model.
"""

import re

import keras
import numpy as np
from keras import ops

PARAGRAPH = "¶"
# Steps of padding behind each sentence in a grid: with the sentences of a text in one row, neither
# n-grams of up to three pieces nor convolutions of up to five reach from one into the next.
GAP = 2
_OTHER, _MARK, _STOP, _LETTER, _NUMBER = range(5)


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
        return _STOP
    if piece in ("!", "?", "。", PARAGRAPH):
        return _MARK
    if len(piece) == 1 and piece.isalpha():
        return _LETTER
    return _NUMBER if piece[:1].isdigit() else _OTHER


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
    sentences, before, second = [], _OTHER, _OTHER
    for number in map(int, ids):
        kind = int(kinds[number])
        ended = before in (_MARK, _STOP) and kind not in (_MARK, _STOP)
        if before == _STOP and (kind == _NUMBER or second == _LETTER):
            ended = False
        if ended or not sentences or len(sentences[-1]) == max_words:
            sentences.append([])
        sentences[-1].append(number)
        before, second = kind, before
    return sentences


def grid(texts, max_words):
    """Sentences of texts, as `split` gives them, in one padded array `(B, N, W + GAP)`."""
    count = max([1, *map(len, texts)])
    ids = np.zeros((len(texts), count, max_words + GAP), np.int32)
    for row, sentences in zip(ids, texts, strict=True):
        for cells, sentence in zip(row, sentences, strict=False):
            cells[: len(sentence)] = sentence
    return ids


@keras.saving.register_keras_serializable(package="recipes")
class SplitSentences(keras.layers.Layer):
    """The rule of `split` for a batch of texts.

    Args:
        vocabulary_size: Integer V.
        max_words: Integer W, pieces in the longest sentence.

    Call arguments:
        ids: int32 `(B, T)`, 0 where padded.

    Returns:
        int32 `(B, N, W + GAP)`: the ids in rows of sentences, one row of padding if there are none.
        The rows of a text, without padding, are its ids in their order.
    """

    def __init__(self, vocabulary_size, max_words, **kwargs):
        kwargs["dtype"] = "float32"  # integers pass through bfloat16 policies unharmed
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.max_words = max_words

    def build(self, ids_shape):
        self.kinds = self.add_weight(
            name="kinds",
            shape=(self.vocabulary_size,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def call(self, ids):
        ids = ops.cast(ids, "int32")
        batch, length = ops.shape(ids)[0], ops.shape(ids)[1]
        kind = ops.take(self.kinds, ids, axis=0)
        nothing = ops.zeros_like(kind[:, :1])
        before = ops.concatenate([nothing, kind[:, :-1]], axis=1)
        second = ops.concatenate([nothing, before[:, :-1]], axis=1)
        ended = _all(ids > 0, _is_end(before), ops.logical_not(_is_end(kind)))
        no_end = ops.logical_or(ops.equal(kind, _NUMBER), ops.equal(second, _LETTER))
        ended = _all(ended, ops.logical_not(_all(ops.equal(before, _STOP), no_end)))

        # The place of each step within its sentence, from the place where the sentence starts.
        step = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
        text = ops.expand_dims(ops.arange(batch, dtype="int32"), 1)
        number = ops.cumsum(ops.cast(ended, "int32"), axis=1)  # (B, T), of the sentence
        cell = text * length + number
        starts = _scatter(cell, ops.where(ended, step, 0), batch * length)
        place = step - ops.take(starts, cell)
        # Long sentences are cut: what is left over starts again at place 0.
        cut = _all(ids > 0, place > 0, ops.equal(place % self.max_words, 0))
        number = ops.cumsum(ops.cast(ops.logical_or(ended, cut), "int32"), axis=1)
        count = ops.max(number) + 1
        width = self.max_words + GAP
        cell = (text * count + number) * width + place % self.max_words
        grid = _scatter(cell, ids, batch * count * width)
        return ops.reshape(grid, (batch, count, width))

    def compute_output_spec(self, ids):
        return keras.KerasTensor((ids.shape[0], None, self.max_words + GAP), dtype="int32")

    def get_config(self):
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "vocabulary_size": self.vocabulary_size,
            "max_words": self.max_words,
        }


def _is_end(kind):
    return ops.logical_or(ops.equal(kind, _MARK), ops.equal(kind, _STOP))


def _all(first, *others):
    for other in others:
        first = ops.logical_and(first, other)
    return first


def _scatter(cells, values, size):
    """A vector of `size` with the sum of the values in each cell."""
    return ops.scatter(ops.reshape(cells, (-1, 1)), ops.reshape(values, (-1,)), (size,))
