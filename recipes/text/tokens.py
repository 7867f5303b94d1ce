"""Tokens of a language model: characters, or pieces of words; each text comes back as it was.

    tokens = learn("characters", data.train.texts)
    ids = tokens.encode("To be")                    # int32
    tokens.decode(ids)                              # "To be"

One line, `tokens.json`, holds all that a phone needs: a list of characters, or what the package
`tokenizers` writes of byte-pair pieces.
"""

import json

import numpy as np

from recipes.kit.errors import cannot_load

FILE = "tokens.json"
PAD, UNKNOWN, BORDER = range(3)  # the border stands before and after each document
SPECIAL = ("[PAD]", "[UNK]", "[BORDER]")
KINDS = ("characters", "pieces")


class Characters:
    """The characters of the training texts; another one is unknown.

    Args:
        characters: List of strings, the special tokens first.

    >>> tokens = Characters.learn(["be not"])
    >>> tokens.encode("bet!").tolist(), tokens.decode(tokens.encode("bet!"))
    ([4, 5, 8, 1], 'bet\ufffd')
    """

    def __init__(self, characters):
        self.names = list(characters)
        self._ids = {character: number for number, character in enumerate(self.names)}

    @classmethod
    def learn(cls, texts):
        """Those of some texts."""
        return cls([*SPECIAL, *sorted(set().union(*texts))])

    def __len__(self):
        return len(self.names)

    def encode(self, text):
        """Ids of a text."""
        return np.array([self._ids.get(character, UNKNOWN) for character in text], "int32")

    def decode(self, ids):
        """The text of ids; special tokens are left out."""
        shown = {PAD: "", UNKNOWN: "\N{REPLACEMENT CHARACTER}", BORDER: ""}
        return "".join(shown.get(number, self.names[number]) for number in map(int, ids))

    def dumps(self):
        """The content of `tokens.json`."""
        return json.dumps(self.names, ensure_ascii=False)


class Pieces:
    """Byte-pair pieces of the training texts' bytes (Sennrich et al., 2016): no text is unknown.

    Args:
        tokenizer: `tokenizers.Tokenizer`.

    >>> tokens = Pieces.learn(["to be or not to be"] * 9, 264)
    >>> len(tokens), tokens.decode(tokens.encode("to be ø\\n"))
    (264, 'to be ø\\n')
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts, size):
        """At most `size` of them, 259 at least: each byte is one."""
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers

        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        # Line by line: pieces never cross a line's end, and one long text would be slow.
        lines = (line for text in texts for line in text.splitlines(keepends=True))
        tokenizer.train_from_iterator(lines, trainer)
        return cls(tokenizer)

    def __len__(self):
        return self._tokenizer.get_vocab_size()

    def encode(self, text):
        """Ids of a text."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, "int32")

    def decode(self, ids):
        """The text of ids; special tokens are left out."""
        return self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=True)

    def dumps(self):
        """The content of `tokens.json`."""
        return self._tokenizer.to_str()


def learn(kind, texts, size):
    """Tokens of training texts.

    Args:
        kind: `"characters"` or `"pieces"`.
        texts: List of strings.
        size: Integer, the most pieces.
    """
    return Characters.learn(texts) if kind == "characters" else Pieces.learn(texts, size)


def load(folder):
    """Reads the `tokens.json` of a folder.

    Raises:
        UserError: If it cannot be read.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        if isinstance(content, list):
            return Characters(content)
        import tokenizers

        return Pieces(tokenizers.Tokenizer.from_str(text))
    except Exception as error:  # what `tokenizers` raises is a bare Exception
        raise cannot_load(path, error) from error
