"""From word pieces back to text, with commas, quotes and hyphens where a reader expects them.

A tokenizer of word pieces cuts at every space and around every punctuation mark, and its ids do
not tell which of the two it was. Where a mark stands is a custom of the language, so it is counted
in the training texts: whether it clings to the word before it, and to the word after it, each for
its first occurrence in a text, third, fifth, ... and for the others, since a quote opens and closes
with the same mark.

`Spacing.to_text` is plain Python, to be ported to whatever language a phone speaks; `TextJoiner`
does the same inside a TensorFlow graph, also in TFLite.
"""

import collections
import dataclasses
import functools
import unicodedata

import numpy as np

from recipes.kit.errors import UserError
from recipes.text import wordpiece


@dataclasses.dataclass(frozen=True)
class Spacing:
    """Which punctuation marks cling to the words around them.

    Attributes:
        marks: Dict from a mark to four booleans: whether it clings to what stands before it and to
            what follows it at an odd occurrence in a text, and the same at an even one.

    >>> spacing = Spacing.learn(['He said, "well-known".', '"Go!", she said.'])
    >>> spacing.to_text(["He", "said", '"', "no", '"', ",", "half", "-", "heart", "##ed", "."])
    'He said "no", half-hearted.'
    """

    marks: dict[str, tuple[bool, bool, bool, bool]]

    @classmethod
    def learn(cls, texts):
        """Counts in texts; what is as often near as not clings."""
        near, seen = collections.Counter(), collections.Counter()
        for text in texts:
            text, occurrences = text.strip(), collections.Counter()
            for place, mark in enumerate(text):
                if not _is_mark(mark):
                    continue
                parity = occurrences[mark] % 2
                occurrences[mark] += 1
                # What another mark does beside it tells nothing.
                for side, beside in enumerate((text[:place][-1:], text[place + 1 :][:1])):
                    if beside and not _is_mark(beside):
                        seen[mark, parity, side] += 1
                        near[mark, parity, side] += not beside.isspace()
        marks = sorted({mark for mark, _, _ in seen})
        places = [(parity, side) for parity in (0, 1) for side in (0, 1)]
        return cls(
            {
                mark: tuple(
                    # A mark that always ends a text has nothing behind it: it stands free there.
                    0 < seen[mark, *place] <= 2 * near[mark, *place]
                    for place in places
                )
                for mark in marks
            }
        )

    def to_text(self, pieces):
        """The text of word pieces, a list of strings in which `##` continues a word."""
        text, occurrences, clings = "", collections.Counter(), True
        for piece in pieces:
            before, after = self._around(piece, occurrences[piece])
            occurrences[piece] += 1
            is_glued = clings or before or piece.startswith("##")
            text += ("" if is_glued else " ") + piece.removeprefix("##")
            clings = after
        return text

    def _around(self, piece, occurrence):
        marks = self.marks.get(piece, (False,) * 4)
        return marks[2:] if occurrence % 2 else marks[:2]

    def dumps(self):
        """A line for each mark: the mark, a tab and the four booleans as 0 or 1."""
        lines = [
            f"{mark}\t{''.join(str(int(flag)) for flag in flags)}\n"
            for mark, flags in self.marks.items()
        ]
        return "".join(lines)

    @classmethod
    def loads(cls, text):
        """What `dumps` wrote.

        >>> Spacing.loads(Spacing.learn(["a, b"]).dumps()).marks
        {',': (True, False, False, False)}
        """
        try:
            rows = [line.split("\t") for line in text.split("\n") if line]
            return cls({mark: tuple(flag == "1" for flag in flags) for mark, flags in rows})
        except ValueError as error:
            raise UserError(f"Expected a mark, a tab and four digits a line: {error}") from None


class TextJoiner:
    """`Spacing.to_text` for a batch of ids inside a TensorFlow graph.

    It runs tensorflow-text's detokenizer of word pieces over a vocabulary that holds each piece
    twice, as a word and as `##` the end of one. (TFLite could join strings otherwise, but that
    operator, `ngrams`, crashes in tensorflow-text 2.21 from 32 rows on.)

    Args:
        vocabulary: List of pieces, the first of them padding; names in brackets are no text.
        spacing: `Spacing`.
        max_length: Integer, the length of every row of ids.

    Attributes:
        detokenizer: What holds the table; an export has to track it.
    """

    def __init__(self, vocabulary, spacing, max_length):
        bare = [piece.removeprefix("##") for piece in vocabulary]
        surfaces = [
            ("##", "##") if _is_special(piece) else ("##" + piece, piece) for piece in bare
        ]  # glued to what stands before it, and free
        both = list(dict.fromkeys(["[UNK]", *(form for forms in surfaces for form in forms)]))
        number = {form: index for index, form in enumerate(both)}
        self.detokenizer = wordpiece.tensorflow_text().FastWordpieceTokenizer(
            both, token_out_type="int32", no_pretokenization=True, support_detokenization=True
        )
        marks = np.array([spacing.marks.get(piece, (False,) * 4) for piece in vocabulary])
        self._forms = np.array([[number[form] for form in forms] for forms in surfaces]).reshape(-1)
        continues = np.array([[piece.startswith("##")] for piece in vocabulary])
        self._clings_before = (marks[:, ::2] | continues).reshape(-1).astype("int32")
        self._clings_after = marks[:, 1::2].reshape(-1).astype("int32")
        self._earlier = np.tri(max_length, k=-1, dtype="int32")  # (L, L)

    def __call__(self, ids):
        """Texts `(B,)` of int32 ids `(B, L)`, each row padded at its end."""
        import tensorflow as tf

        same = tf.cast(tf.equal(ids[:, :, None], ids[:, None, :]), tf.int32)
        parity = tf.math.floormod(tf.reduce_sum(same * self._earlier, axis=-1), 2)
        row = 2 * ids + parity  # (B, L)
        before = tf.gather(self._clings_before, row)[:, 1:]
        after = tf.gather(self._clings_after, row)[:, :-1]
        is_free = tf.pad(1 - tf.maximum(before, after), [[0, 0], [1, 0]], constant_values=1)
        forms = tf.gather(tf.cast(self._forms, tf.int32), 2 * ids + is_free)
        is_text = tf.not_equal(ids, 0)
        lengths = tf.reduce_sum(tf.cast(is_text, tf.int64), axis=1)
        return self.detokenizer.detokenize(
            tf.RaggedTensor.from_row_lengths(
                tf.boolean_mask(forms, is_text), lengths, validate=False
            )
        )


def _is_special(piece):
    return len(piece) > 2 and piece[0] == "[" and piece[-1] == "]"


@functools.lru_cache(maxsize=4096)  # asked of each character of all texts
def _is_mark(character):
    return wordpiece.stands_alone(character, unicodedata.category(character))
