"""Word pieces of what is read and of what is written, and the way from them back to text."""

from recipes.kit.errors import cannot_load
from recipes.text import detokenize, wordpiece

PAD, UNKNOWN, START, END = range(4)
SPECIAL = ("[START]", "[END]")  # after padding and unknown
FILES = ("source_vocabulary.txt", "target_vocabulary.txt", "spacing.txt")


class Languages:
    """Word pieces of both languages, and the way back from them to text.

    Attributes:
        source, target: Lists of pieces.
        spacing: `detokenize.Spacing` of the target.
        readers: Tokenizers of source and target.
    """

    def __init__(self, source, target, spacing):
        self.source, self.target, self.spacing = source, target, spacing
        self.readers = [wordpiece.fast_tokenizer(pieces, cased=True) for pieces in (source, target)]

    @classmethod
    def learn(cls, split, size):
        """Learns them from the training split."""
        pieces = [
            wordpiece.learn_vocabulary(texts, size, cased=True, special=SPECIAL)
            for texts in (split.sources, split.targets)
        ]
        return cls(*pieces, detokenize.Spacing.learn(split.targets))

    def ids(self, split):
        """Ids of a split's sources and of its targets."""
        return [
            wordpiece.tokenize(reader, texts)
            for reader, texts in zip(self.readers, (split.sources, split.targets), strict=True)
        ]

    def text(self, ids):
        """The text of a translation's ids."""
        return self.spacing.to_text([self.target[number] for number in ids])

    def files(self):
        """What a phone needs to read and write: file name to lines."""
        return {
            "source_vocabulary.txt": self.source,
            "target_vocabulary.txt": self.target,
            "spacing.txt": self.spacing.dumps().split("\n")[:-1],
        }

    @classmethod
    def load(cls, folder):
        """Reads what `files` names.

        Raises:
            UserError: If a file cannot be read.
        """
        try:
            source, target, spacing = (
                (folder / name).read_text(encoding="utf-8") for name in FILES
            )
            vocabularies = source.split("\n")[:-1], target.split("\n")[:-1]
            return cls(*vocabularies, detokenize.Spacing.loads(spacing))
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_load(folder / FILES[0], error) from error


def words(ids, vocabulary):
    """Words of word pieces, and the position of the piece with which each starts."""
    joined, starts = [], []
    for position, number in enumerate(ids):
        piece = vocabulary[number]
        if piece.startswith("##") and joined:
            joined[-1] += piece[2:]
        else:
            joined.append("(end)" if number == END else piece)
            starts.append(position)
    return joined, starts
