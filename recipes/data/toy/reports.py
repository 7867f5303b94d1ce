"""Reports in which we know what a summary has to say, and that its names can only be copied.

A report has four sentences, and each tells of two people who did something. One sentence begins
with the word "Note", at any position, and the summary is what it tells. All names are made up, new
in each report: no vocabulary holds them, so a summary can have them only by copying, from the one
position where each stands.

>>> report = generate(1, seed=3)[0]
>>> report.document
'Today Fumiki met Niboba. Again Sagafu met Mimiko. Often Sefodu found Pupabo. Note Ranago called \
Rugena.'
>>> report.summary
'Ranago called Rugena.'
>>> report.copied                   # words of the report, each full stop counting as one
(16, 18)
"""

import dataclasses
import itertools
import random

DESCRIPTION = (
    "Reports of four sentences, of which the summary is the one that is marked; all names are new "
    "in each (recipes/data/toy/reports.py)."
)
SENTENCES = 4
_VERBS = "called thanked visited helped praised heard found met".split()
_OPENINGS = "Also Then Later Today Often Again".split()
MARK = "Note"
_SYLLABLES = ["".join(pair) for pair in itertools.product("bdfgklmnprst", "aeiou")]


@dataclasses.dataclass(frozen=True)
class Report:
    """A report and its summary.

    Attributes:
        document: String.
        summary: String.
        copied: For each of the summary's two names the position of that word in the report, where
            a full stop counts as a word.
    """

    document: str
    summary: str
    copied: tuple[int, int]


def splits(train=2000, validation=100, test=100, *, seed=0):
    """Returns three lists of reports that share no name but by chance.

    >>> [len(split) for split in splits(train=8, validation=2, test=4)]
    [8, 2, 4]
    """
    reports = generate(train + validation + test, seed=seed)
    return reports[:train], reports[train : train + validation], reports[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` reports."""
    rng = random.Random(seed)
    return [_report(rng) for _ in range(count)]


def _report(rng):
    told = [f"{_name(rng)} {rng.choice(_VERBS)} {_name(rng)}." for _ in range(SENTENCES)]
    openings = rng.sample(_OPENINGS, SENTENCES)
    marked = rng.randrange(SENTENCES)
    openings[marked] = MARK
    document = " ".join(f"{opening} {text}" for opening, text in zip(openings, told, strict=True))
    first = 5 * marked + 1  # a sentence has four words and a full stop
    return Report(document, told[marked], (first, first + 2))


def _name(rng):
    return "".join(rng.choices(_SYLLABLES, k=3)).capitalize()
