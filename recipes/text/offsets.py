"""Tokens of a text and the characters that each stands for: characters, or word pieces.

    tokens = learn("characters", texts, size=8000)
    ids, spans = tokens.encode("Köln, 1945")        # int32 `(T,)` and `(T, 2)`: start, end

An answer is found as tokens and told as a part of the text itself. `vocabulary.txt`, a token per
line, holds all that a phone needs.
"""

import functools
import unicodedata
from collections import Counter

import numpy as np

from recipes.kit import run_folder
from recipes.kit.errors import cannot_load
from recipes.text import wordpiece
from recipes.text.wordpiece import PADDING, UNKNOWN

FILE = "vocabulary.txt"
KINDS = ("characters", "pieces")
# Scripts that are written without spaces between words, by the first word of a letter's name.
_UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"}


def is_spaced(texts):
    """Whether most letters of some texts are of scripts that have spaces between words.

    >>> is_spaced(["It is 日本"]), is_spaced(["これは AI です"])
    (True, False)
    """
    counts = Counter()
    for text in texts:
        counts.update(text)
    letters = Counter()
    for character, count in counts.items():
        if character.isalpha():
            script = unicodedata.name(character, "").partition(" ")[0]
            letters[script in _UNSPACED] += count
    return letters[False] >= letters[True]


@functools.cache
def fold(character):
    """A character as it is compared: wide as narrow ones, in lower case, any space as a space.

    >>> "".join(map(fold, "W\\nｱﬁ"))
    'w アﬁ'
    """
    folded = unicodedata.normalize("NFKC", character).casefold()
    folded = folded if len(folded) == 1 else character  # each stays at its position
    return " " if folded.isspace() else folded


class Characters:
    """The characters of the training texts that occur more than once; another one is unknown.

    Args:
        names: List of strings, padding and unknown first.

    >>> tokens = Characters.learn(["ab ab", "c"])
    >>> ids, spans = tokens.encode("Ba c")
    >>> ids.tolist(), spans[0].tolist()
    ([3, 2, 1, 1], [0, 1])
    """

    def __init__(self, names):
        self.names = list(names)
        self._ids = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def learn(cls, texts, size=None):
        """Those of some texts; all, whatever the size."""
        counts = Counter()
        for text in texts:
            counts.update(map(fold, text))
        return cls([PADDING, UNKNOWN, *sorted(x for x, count in counts.items() if count > 1)])

    def encode(self, text):
        """Ids of a text `(T,)`, and the start and end of each in characters `(T, 2)`."""
        ids = [self._ids.get(fold(character), 1) for character in text]
        starts = np.arange(len(ids), dtype="int32")
        return np.array(ids, "int32"), np.stack([starts, starts + 1], axis=1)

    def encode_all(self, texts):
        """The same for each of many texts, a list."""
        return [self.encode(text) for text in texts]


class Pieces:
    """Word pieces, see `recipes.text.wordpiece`."""

    def __init__(self, names):
        self.names = list(names)
        self.tokenizer = wordpiece.tokenizer_of(self.names)

    @classmethod
    def learn(cls, texts, size):
        """At most `size` of them."""
        return cls(wordpiece.learn_vocabulary(texts, size))

    def encode(self, text):
        """Ids of a text `(T,)`, and the start and end of each in characters `(T, 2)`."""
        (encoded,) = self.encode_all([text])
        return encoded

    def encode_all(self, texts):
        """The same for each of many texts, a list."""
        return [
            (ids, np.array(spans, "int32").reshape(-1, 2))
            for ids, spans in wordpiece.spans_of_many(self.tokenizer, texts)
        ]


_CLASSES = {"characters": Characters, "pieces": Pieces}


def learn(kind, texts, size):
    """Tokens of training texts.

    Args:
        kind: `"characters"` or `"pieces"`.
        texts: List of strings.
        size: Integer, the most pieces.
    """
    return _CLASSES[kind].learn(texts, size)


def load(folder, kind):
    """Reads the `vocabulary.txt` of a folder.

    Raises:
        UserError: If it cannot be read.
    """
    names = run_folder.read_lines(folder / FILE)
    try:
        return _CLASSES[kind](names)
    except (ValueError, RuntimeError, KeyError) as error:
        raise cannot_load(folder / FILE, error) from error
