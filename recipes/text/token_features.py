"""Tokens of a sentence as ids, in plain Python that is short enough to be ported to a phone.

A token is described by four features: the word, its first and its last three letters, and its
shape. So an unknown word still tells something: "Springfield" ends as other towns do.

    vocabulary = learn(train_tokens)                     # list of strings: line n is feature n
    tokens, spans = split("To St. Louis, please.", known_words(vocabulary))
    ids = encode(index_of(vocabulary), tokens)           # int32 (T, 4)
"""

import itertools
import re
from collections import Counter

import numpy as np

KINDS = ("word", "prefix", "suffix", "shape")
PADDING = "[PAD]"
# One unknown for each kind of feature: ids 1 to 4.
UNKNOWN = tuple(f"{kind}=[UNK]" for kind in KINDS)
_LETTERS = 3


def features(token):
    """The four features of a token; digits count as 0, and upper as lower case but in the shape.

    >>> features("St.Louis-7")
    ('word=st.louis-0', 'prefix=st.', 'suffix=s-0', 'shape=Xx.Xx-0')
    """
    word = re.sub(r"\d", "0", token.casefold())
    shape = "".join(
        "0" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in token
    )
    shape = "".join(letter for letter, _ in itertools.groupby(shape))
    parts = (word, word[:_LETTERS], word[-_LETTERS:], shape)
    return tuple(f"{kind}={part}" for kind, part in zip(KINDS, parts, strict=True))


def learn(sentences, *, min_count=2):
    """The features of sentences, lists of tokens; the most frequent first, after the special ones.

    Words are kept if they occur once, other features if `min_count` times.

    >>> learn([["to", "Rome"], ["to", "go"]])[:7]
    ['[PAD]', 'word=[UNK]', 'prefix=[UNK]', 'suffix=[UNK]', 'shape=[UNK]', 'shape=x', 'prefix=to']
    """
    counts = Counter(x for tokens in sentences for token in tokens for x in features(token))
    ordered = sorted(counts, key=lambda feature: (-counts[feature], feature))
    kept = (x for x in ordered if x.startswith("word=") or counts[x] >= min_count)
    return [PADDING, *UNKNOWN, *kept]


def index_of(vocabulary):
    """Dict from a feature to its id."""
    return {feature: number for number, feature in enumerate(vocabulary)}


def known_words(vocabulary):
    """The words among the features, for `split`."""
    return {feature.removeprefix("word=") for feature in vocabulary if feature.startswith("word=")}


def encode(index, tokens):
    """The ids of tokens, int32 `(T, 4)`."""
    ids = [
        [index.get(feature, number) for number, feature in enumerate(features(token), start=1)]
        for token in tokens
    ]
    return np.array(ids, "int32").reshape(-1, len(KINDS))


def split(text, known=frozenset()):
    """The tokens of a raw text, and for each its `(start, end)` in characters.

    The text is split at spaces. Punctuation at the start or end of a token becomes tokens of its
    own, one mark at a time, until what is left is a known word. Marks inside a token stay.

    >>> split('To "St. Louis", at 7:30?', {"st."})[0]
    ['To', '"', 'St.', 'Louis', '"', ',', 'at', '7:30', '?']
    """
    tokens = []
    for found in re.finditer(r"\S+", text):
        start, end = found.span()
        behind = []
        while end - start > 1 and features(text[start:end])[0].removeprefix("word=") not in known:
            if _is_mark(text[start]):
                tokens.append((start, start + 1))
                start += 1
            elif _is_mark(text[end - 1]):
                end -= 1
                behind.append((end, end + 1))
            else:
                break
        tokens += [(start, end), *reversed(behind)]
    return [text[start:end] for start, end in tokens], tokens


def _is_mark(character):
    return not (character.isalnum() or character == "_")
