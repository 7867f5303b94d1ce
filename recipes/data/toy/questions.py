"""Questions and candidate sentences in which we know which two words answer each other.

A question asks when, where, who or what of a person and a thing that was done. Its right candidate
tells of the same deed, in another word (to buy, to purchase), and has what was asked: a time, a
place, a name or a thing. The other candidates have the same person in another deed, or the same
deed but the wrong kind of answer. So shared words decide little: the person's name stands in all of
them. What decides is the pair of words that mean the same, which no two texts share: `matching`.

>>> pair = next(pair for pair in generate(1, seed=3) if pair.label)
>>> pair.query, pair.document
('where did Jonas make a wagon ?', 'Jonas built a wagon in Turin .')
>>> pair.matching
('make', 'built')
"""

import dataclasses
import random

DESCRIPTION = (
    "Questions and candidate sentences, generated (recipes/data/toy/questions.py): what decides is "
    "a pair of words that mean the same."
)
# What is asked with, and what is told with, of the same deed.
DEEDS = {
    "buy": "purchased", "start": "began", "fix": "repaired", "hide": "concealed",
    "praise": "commended", "visit": "toured", "paint": "coloured", "lose": "mislaid",
    "make": "built", "find": "discovered", "leave": "abandoned", "help": "assisted",
}  # fmt: skip
PEOPLE = "Anna Boris Carla David Elena Felix Greta Henri Ida Jonas Karin Leo Maria Olga".split()
_THINGS = "a boat;a bridge;a clock;a garden;a house;a lamp;a mill;a table;a tower;a wagon".split(
    ";"
)
_PLACES = "in Bergen;in Cadiz;in Delft;in Genoa;in Lyon;in Prague;in Riga;in Turin".split(";")
_TIMES = "in spring;in summer;in autumn;in winter;on Monday;on Friday;in May;in June".split(";")
_ASKED = {"what": _THINGS, "where": _PLACES, "when": _TIMES, "who": PEOPLE}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A question and a candidate.

    Attributes:
        query, document: Strings.
        label: 1 for the right candidate, else 0.
        matching: For the right one the words of question and candidate that mean the same; for
            another `None`.
    """

    query: str
    document: str
    label: int
    matching: tuple[str, str] | None


def splits(train=500, validation=60, test=150, *, seed=0):
    """Returns three lists of pairs, of so many questions each, which share no question.

    >>> [sum(pair.label for pair in split) for split in splits(train=8, validation=2, test=4)]
    [8, 2, 4]
    """
    sizes, parts = (train, validation, test), ([], [], [])
    asked, questions = set(), iter(_questions(random.Random(seed)))
    for part, size in zip(parts, sizes, strict=True):
        while size:
            pairs = next(questions)
            if pairs[0].query not in asked:
                asked.add(pairs[0].query)
                part += pairs
                size -= 1
    return parts


def generate(count, *, seed=0):
    """Returns the pairs of `count` questions."""
    questions = _questions(random.Random(seed))
    return [pair for _ in range(count) for pair in next(questions)]


def _questions(rng):
    """Yields the pairs of one question after the other: a right candidate and five others."""
    while True:
        kind, person = rng.choice(list(_ASKED)), rng.choice(PEOPLE)
        deed, *others = rng.sample(list(DEEDS), 5)
        # The deed is all that a question about a person has beside them, or there is a thing too.
        thing = rng.choice(_THINGS) if kind in ("when", "where") else None
        query = f"{kind} did {person} {deed} {thing or ''} ?".replace("  ", " ")

        def told(deed, kind, thing=thing, person=person):
            answer = rng.choice([answer for answer in _ASKED[kind] if answer != person])
            words = [person, DEEDS[deed], thing or "", answer, "."]
            return " ".join(word for word in words if word)

        wrong_kind = rng.choice([other for other in _ASKED if other != kind])
        documents = {told(deed, kind): 1, told(deed, wrong_kind): 0}
        while len(documents) < 6:
            documents.setdefault(told(rng.choice(others), kind), 0)
        pairs = [
            Pair(query, document, label, (deed, DEEDS[deed]) if label else None)
            for document, label in documents.items()
        ]
        yield rng.sample(pairs, len(pairs))
