"""Sentences to translate in which we know which word means which.

The source language is made up: each of its words stands for one English word, and it says
everything in reverse order. So no word can be translated in its place, and a whole sentence has to
be kept in mind or looked up. Sentences are of three to seven words, any words in any order, none of
them twice; the first begins with a capital letter and a full stop ends each, in both languages.

>>> pair = generate(1, seed=3)[0]
>>> pair.source
'Zili tilu dira nudi.'
>>> pair.target
'Three red door train.'
>>> pair.alignment
(3, 2, 1, 0)
"""

import dataclasses
import itertools
import random

DESCRIPTION = (
    "Sentences in a made-up language that says everything in reverse order, and their English "
    "(recipes/data/toy/translation.py)."
)
LANGUAGES = ("toy", "en")

_ENGLISH = """
    one two three four five red green blue white big small old new round man woman boy girl dog cat
    horse bird fish house garden river boat train table door book apple tree sits stands runs reads
    sees under over
""".split()
_SYLLABLES = ["".join(pair) for pair in itertools.product("bdfgklmnprstz", "aiou")]


def _lexicon():
    """For each word of the source language its English word."""
    words = ["".join(pair) for pair in itertools.product(_SYLLABLES, _SYLLABLES)]
    return dict(zip(random.Random(7).sample(words, len(_ENGLISH)), _ENGLISH, strict=True))


LEXICON = _lexicon()


@dataclasses.dataclass(frozen=True)
class Pair:
    """A sentence, its translation, and which word comes from which.

    Attributes:
        source: String in the made-up language.
        target: Its English.
        alignment: For each word of the target the position of its source word. The full stop is
            left out: it comes when nothing is left to say, wherever one looks.
    """

    source: str
    target: str
    alignment: tuple[int, ...]


def splits(train=4000, validation=300, test=500, *, seed=0):
    """Returns three lists of pairs that share no sentence.

    >>> [len(split) for split in splits(train=8, validation=2, test=4)]
    [8, 2, 4]
    """
    pairs = generate(train + validation + test, seed=seed)
    return pairs[:train], pairs[train : train + validation], pairs[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` pairs, no two alike."""
    rng = random.Random(seed)
    pairs = {}
    while len(pairs) < count:
        words = rng.sample(sorted(LEXICON), rng.randint(3, 7))
        english = [LEXICON[word] for word in reversed(words)]
        alignment = tuple(reversed(range(len(words))))
        pair = Pair(_sentence(words), _sentence(english), alignment)
        pairs.setdefault(pair.source, pair)
    return list(pairs.values())


def _sentence(words):
    return " ".join(words).capitalize() + "."
