"""Words that a text can be written with: those of a vocabulary, and those of a source text.

A word that is one word piece is known. One of several pieces is not, and can only be copied: its
number is that of the known words and then the position where it first stands in the source (an
extended vocabulary). All of it runs in a TensorFlow graph, also in TFLite, from ids of pieces to
ids of pieces; only text needs more, the tokenizer before and `detokenize.TextJoiner` behind.

    words = Copyable.learn(documents, summaries, size=8000, max_words=400)
    source, pieces = words.read(ids)        # word pieces (B, T) to words (B, S), and their pieces
    ids = words.spell(written, pieces)      # words (B, L) to word pieces (B, L * PIECES)
"""

import collections
import functools
import re

import numpy as np

from recipes.kit.errors import cannot_load
from recipes.text import detokenize, wordpiece

PAD, UNKNOWN, START, END = range(4)
SPECIAL = ("[START]", "[END]")  # after padding and unknown
FILES = ("vocabulary.txt", "spacing.txt")
PIECES = 8  # of a word that is copied, at most

# A word between two equal signs, such as `#Person1#`, is one word if it is frequent.
_MARKED = re.compile(r"(?<!\S)([#@%&*_|~^])(\w+)\1")
_FREQUENT, _MOST_MARKED = 100, 32


class Copyable:
    """A vocabulary, whose first pieces are words, and the words of a source beside it.

    Args:
        vocabulary: List of pieces: the special ones, words, and those that continue a word, which
            begin with `##`.
        spacing: `detokenize.Spacing`.
        max_words: Integer M, words of a source that are read, at most.

    Attributes:
        known: Integer W, number of the known words; W + i is the word at position i of the source.
        size: Integer, W + M.
        tokenizer: That of the pieces.
    """

    def __init__(self, vocabulary, spacing, max_words):
        self.vocabulary, self.spacing, self.max_words = vocabulary, spacing, max_words
        self.tokenizer = wordpiece.tokenizer_of(vocabulary)
        self._continues = np.array([piece.startswith("##") for piece in vocabulary])
        self.known = len(vocabulary) - int(self._continues.sum())
        self.size = self.known + max_words
        number = {piece: index for index, piece in enumerate(vocabulary)}
        marked = {
            number[piece]: [number.get(part, UNKNOWN) for part in (piece[0], piece[1:-1], piece[0])]
            for piece in vocabulary
            if _MARKED.fullmatch(piece)
        }
        # The first matches nothing: an axis of length 0 does not convert.
        self._marked = np.array([[0, -1, -1, -1], *([n, *x] for n, x in marked.items())], "int32")

    @classmethod
    def learn(cls, documents, summaries, size, max_words, *, cased=True):
        """Learns at most `size` pieces from the training texts."""
        texts = [*documents, *summaries]
        counts = collections.Counter(found[0] for text in texts for found in _MARKED.finditer(text))
        marked = [word for word, n in counts.most_common(_MOST_MARKED) if n >= _FREQUENT]
        if not cased:
            marked = list(dict.fromkeys(word.lower() for word in marked))
        special = (*SPECIAL, *marked)
        pieces = wordpiece.learn_vocabulary(texts, size, cased=cased, special=special)
        # Of a mark whose word is no piece it could not be told.
        known = set(pieces)
        pieces = [piece for piece in pieces if piece not in marked or piece[1:-1] in known]
        pieces.sort(key=lambda piece: piece.startswith("##"))
        return cls(pieces, detokenize.Spacing.learn(summaries), max_words)

    def files(self):
        """What a phone needs to read and write: file name to lines."""
        spacing = self.spacing.dumps().split("\n")[:-1]
        return dict(zip(FILES, (self.vocabulary, spacing), strict=True))

    @classmethod
    def load(cls, folder, max_words):
        """Reads what `files` names.

        Raises:
            UserError: If a file cannot be read.
        """
        try:
            vocabulary, spacing = ((folder / name).read_text(encoding="utf-8") for name in FILES)
            spacing = detokenize.Spacing.loads(spacing)
            return cls(vocabulary.split("\n")[:-1], spacing, max_words)
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_load(folder / FILES[0], error) from error

    def starts(self, ids):
        """At which pieces of int32 `(B, T)` a word begins, `(B, T)`, and which marked words do."""
        import tensorflow as tf

        # `expand_dims`, as a slice with a new axis of a length unknown does not convert.
        ahead = tf.pad(ids, [[0, 0], [0, 2]])
        beside = [ids, ahead[:, 1:-1], ahead[:, 2:]]
        hits = tf.ones_like(tf.expand_dims(ids, -1), tf.bool)  # (B, T, 1)
        for part, column in zip(beside, self._marked.T[1:], strict=True):
            hits = tf.logical_and(
                hits, tf.equal(tf.expand_dims(part, -1), column)
            )  # (B, T, marked)
        marked = tf.reduce_max(tf.where(hits, self._marked[:, 0], 0), axis=-1)  # (B, T)
        behind = tf.pad(tf.cast(marked > 0, tf.int32), [[0, 0], [2, 0]])
        inside = behind[:, 1:-1] + behind[:, :-2]
        inside += tf.gather(self._continues.astype("int32"), ids)
        first = tf.equal(tf.range(tf.shape(ids)[1]), 0)
        begins = tf.logical_and(ids > PAD, tf.logical_or(tf.equal(inside, 0), first))
        return begins, marked

    def read(self, ids):
        """Words of texts.

        Args:
            ids: int32 `(B, T)`, word pieces, padded at the end.

        Returns:
            The words, int32 `(B, S)`, and the pieces of each, `(B, S, PIECES)`; S is that of the
            longest text, but at most `max_words` and at least 1.
        """
        import tensorflow as tf

        begins, marked = self.starts(ids)
        word = tf.cumsum(tf.cast(begins, tf.int32), axis=1) - 1  # (B, T)
        width = tf.clip_by_value(
            tf.reduce_max(tf.pad(word, [[0, 0], [0, 1]])) + 1, 1, self.max_words
        )
        position = tf.range(tf.shape(ids)[1])
        is_piece = tf.logical_and(ids > PAD, word < width)
        start = _scatter(position + tf.zeros_like(ids), word, is_piece & begins, width)
        offset = position - tf.gather(start, tf.clip_by_value(word, 0, width - 1), batch_dims=1)
        place = word * PIECES + tf.minimum(offset, PIECES - 1)
        fits = tf.logical_and(is_piece, offset < PIECES)
        pieces = _scatter(ids, place, fits, width * PIECES)  # (B, S P)
        pieces = tf.reshape(pieces, (-1, width, PIECES))
        marked = _scatter(marked, word, is_piece & begins, width)  # (B, S)

        same = tf.constant(True)
        for one in tf.unstack(pieces, axis=-1):
            equal = tf.equal(tf.expand_dims(one, 2), tf.expand_dims(one, 1))  # (B, S, S)
            same = tf.logical_and(same, equal)
        first = tf.reduce_min(tf.where(same, tf.range(width), width), axis=-1)  # (B, S)
        whole, second = pieces[:, :, 0], pieces[:, :, 1]
        is_known = tf.logical_and(tf.equal(second, PAD), whole < self.known)
        words = tf.where(is_known, whole, self.known + first)
        # A piece that is unknown cannot be written, also as a part.
        is_unknown = tf.reduce_any(tf.equal(pieces, UNKNOWN), axis=-1)
        words = tf.where(is_unknown, UNKNOWN, tf.where(marked > 0, marked, words))
        return words, pieces

    def spell(self, words, pieces):
        """Word pieces `(B, L * PIECES)` of words `(B, L)`, for what `read` gave of the source."""
        import tensorflow as tf

        slot = tf.clip_by_value(words - self.known, 0, tf.shape(pieces)[1] - 1)
        copied = tf.gather(pieces, slot, batch_dims=1)  # (B, L, P)
        alone = tf.pad(tf.expand_dims(words, -1), [[0, 0], [0, 0], [0, PIECES - 1]])
        ids = tf.where(tf.expand_dims(words, -1) < self.known, alone, copied)
        ids = tf.reshape(ids, (-1, words.shape[1] * PIECES))
        is_piece = ids > PAD
        place = tf.cumsum(tf.cast(is_piece, tf.int32), axis=1) - 1
        return _scatter(ids, place, is_piece, tf.shape(ids)[1])

    def sources(self, texts, rows=32):
        """Words and pieces of many texts, two lists of arrays without padding."""
        from recipes.data.batches import pad

        ids = wordpiece.tokenize(self.tokenizer, texts)
        found, order = [None] * len(ids), np.argsort([len(row) for row in ids], kind="stable")
        for first in range(0, len(order), rows):
            part = order[first : first + rows]
            width = max(1, *(len(ids[row]) for row in part))
            words, pieces = (x.numpy() for x in self._read(pad([ids[row] for row in part], width)))
            for row, known, spelled in zip(part, words, pieces, strict=True):
                found[row] = known[known != PAD], spelled[known != PAD]
        return [row[0] for row in found], [row[1] for row in found]

    @functools.cached_property
    def _read(self):
        """`read`, compiled once."""
        import tensorflow as tf

        # Nothing in it is Python that AutoGraph would have to rewrite, which takes it seconds.
        return tf.function(self.read, [tf.TensorSpec((None, None), tf.int32)], autograph=False)

    def targets(self, texts, rows, pieces):
        """Words of summaries: those that are not known are those of the source, or unknown.

        Args:
            texts: List of strings.
            rows: List of integers, the source of each.
            pieces: What `sources` gave of the sources.
        """
        # The first position of a word counts.
        numbers = {
            row: {
                tuple(word): self.known + slot for slot, word in reversed([*enumerate(pieces[row])])
            }
            for row in set(rows)
        }
        targets = []
        for row, words, spelled in zip(rows, *self.sources(texts), strict=True):
            found = [
                word if word < self.known else numbers[row].get(tuple(word_pieces), UNKNOWN)
                for word, word_pieces in zip(words, spelled, strict=True)
            ]
            targets.append(np.array(found, "int32"))
        return targets

    def text(self, words, pieces):
        """The text of a summary's words, for the pieces of the words of its source."""
        spelled = [[w] if w < self.known else pieces[w - self.known] for w in words]
        return self.spacing.to_text([self.vocabulary[n] for row in spelled for n in row if n])

    def names(self, words, source):
        """Each of a summary's words as a string, for those of its source, a list of strings."""
        return [
            self.vocabulary[word] if word < self.known else source[word - self.known]
            for word in words
        ]

    def spans(self, text):
        """The `(start, end)` of each word of a text, in characters."""
        ids, pieces = wordpiece.piece_spans(self.tokenizer, text)
        if not len(ids):
            return []
        starts = np.flatnonzero(self.starts(ids[None])[0][0].numpy())
        ends = [*starts[1:], len(ids)]
        return [(pieces[a][0], pieces[b - 1][1]) for a, b in zip(starts, ends, strict=True)]


def _scatter(values, place, is_kept, width):
    """Values `(B, N)` at their places `(B, N)` in rows of zeros `(B, width)`."""
    import tensorflow as tf

    batch = tf.shape(values)[0]
    row = tf.expand_dims(tf.range(batch), -1) * width
    # What is not kept is added to a step behind the last, which is cut off.
    flat = tf.where(is_kept, row + place, batch * width)
    flat = tf.reshape(flat, (-1, 1))
    filled = tf.scatter_nd(flat, tf.reshape(values, (-1,)), [batch * width + 1])
    return tf.reshape(filled[:-1], (batch, width))
