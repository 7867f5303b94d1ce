"""Texts in which we know where to look: each line repeats the line before.

A text has four lines. The first is twelve letters, drawn at random from twelve, and each other line
is the same again. So the first line can only be guessed, at log 12 nats a letter, and from then on
each character is the one that stands thirteen characters before it. A model that sees fewer, such
as an n-gram of six characters, has to guess everywhere.

>>> echo = generate(1, seed=3)[0]
>>> echo.text.split()
['djicfjhkjbja', 'djicfjhkjbja', 'djicfjhkjbja', 'djicfjhkjbja']
>>> f"{NATS:.4f}"                   # a character, of the best that can be
'0.5734'
"""

import dataclasses
import math
import random

DESCRIPTION = (
    "Texts of four lines, of which each repeats the line before (recipes/data/toy/echoes.py)."
)
LETTERS = "abcdefghijkl"
WIDTH, LINES = 12, 4
# How far back the character stands that comes again.
DISTANCE = WIDTH + 1
# Of the best model, per character: the letters of the first line are all that is not known.
NATS = WIDTH * math.log(len(LETTERS)) / (LINES * DISTANCE)


@dataclasses.dataclass(frozen=True)
class Echo:
    """A text."""

    text: str


def splits(train=1500, validation=60, test=60, *, seed=0):
    """Returns three lists of texts.

    >>> [len(split) for split in splits(train=8, validation=2, test=4)]
    [8, 2, 4]
    """
    texts = generate(train + validation + test, seed=seed)
    return texts[:train], texts[train : train + validation], texts[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` texts."""
    rng = random.Random(seed)
    return [Echo((_line(rng) + "\n") * LINES) for _ in range(count)]


def _line(rng):
    return "".join(rng.choice(LETTERS) for _ in range(WIDTH))
