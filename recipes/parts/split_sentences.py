"""Sentences of a text of word pieces, split inside a model."""

import keras
from keras import ops

from recipes.text.sentences import GAP, LETTER, MARK, NUMBER, STOP


@keras.saving.register_keras_serializable(package="recipes")
class SplitSentences(keras.layers.Layer):
    """The rule of `recipes.text.sentences.split` for a batch of texts.

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
        no_end = ops.logical_or(ops.equal(kind, NUMBER), ops.equal(second, LETTER))
        ended = _all(ended, ops.logical_not(_all(ops.equal(before, STOP), no_end)))

        # The position of each step in its sentence, from the position where the sentence starts.
        step = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
        text = ops.expand_dims(ops.arange(batch, dtype="int32"), 1)
        number = ops.cumsum(ops.cast(ended, "int32"), axis=1)  # (B, T), of the sentence
        cell = text * length + number
        starts = _scatter(cell, ops.where(ended, step, 0), batch * length)
        place = step - ops.take(starts, cell)
        # Long sentences are cut: what is left over starts again at position 0.
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
    return ops.logical_or(ops.equal(kind, MARK), ops.equal(kind, STOP))


def _all(first, *others):
    for other in others:
        first = ops.logical_and(first, other)
    return first


def _scatter(cells, values, size):
    """A vector of `size` with the sum of the values in each cell."""
    return ops.scatter(ops.reshape(cells, (-1, 1)), ops.reshape(values, (-1,)), (size,))
