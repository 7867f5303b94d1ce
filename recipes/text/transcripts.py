"""Texts of speech as ids of the words or the characters that are written, and back.

transcripts = learn("words", data.train.texts)
ids = transcripts.encode("nine five")              # int32, without start and end
transcripts.decode(ids)                            # "nine five"
"""

import numpy as np

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("[PAD]", "[START]", "[END]", "[UNK]")
SEPARATORS = {"words": " ", "characters": ""}


class Transcripts:
    """A vocabulary of words or of characters.

    Attributes:
        names: List of strings, the special tokens first.
        separator: String between two tokens of a text: a space between words, else nothing.
    """

    def __init__(self, names, separator):
        self.names, self.separator = list(names), separator
        self._ids = {name: number for number, name in enumerate(self.names)}

    def __len__(self):
        return len(self.names)

    def encode(self, text):
        """Ids of a text; what the training texts do not have is unknown."""
        tokens = text.split(self.separator) if self.separator else text
        return np.array([self._ids.get(token, UNKNOWN) for token in tokens], "int32")

    def tokens(self, ids):
        """The tokens of ids, without the special ones."""
        return [self.names[number] for number in map(int, ids) if number > UNKNOWN]

    def decode(self, ids):
        """The text of ids.

        >>> transcripts = learn("characters", ["to be"])
        >>> transcripts.decode([*transcripts.encode("bet"), END]), len(transcripts)
        ('bet', 9)
        """
        return self.separator.join(self.tokens(ids))


def learn(kind, texts):
    """The `Transcripts` of training texts, of which single spaces part the words.

    Args:
        kind: String, one of `SEPARATORS`.
        texts: List of strings.

    >>> learn("words", ["to be or", "not to be"]).encode("or not me").tolist()
    [6, 5, 3]
    """
    separator = SEPARATORS[kind]
    known = {token for text in texts for token in (text.split(" ") if separator else text)}
    return Transcripts([*SPECIAL, *sorted(known)], separator)
