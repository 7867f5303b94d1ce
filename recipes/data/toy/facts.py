"""Passages of facts, and questions of which we know which sentence answers them.

A passage tells of deeds: who did what to which thing, where and when. A question asks for the
thing, the place or the day of one of them, in another word (to buy, to purchase). Two people of a
passage do the same two deeds, each in another place and on another day: neither the person nor the
deed tells which sentence has the answer. The deed is a pair of words that no text shares,
`matching`.

>>> row = generate(1, seed=3)[0]
>>> row.question
'what did David fix ?'
>>> answer, start = row.answers[0]
>>> row.context.split(" . ")[row.sentence], answer
('David repaired a bridge in Genoa on friday', 'bridge')
>>> row.matching
('fix', 'repaired')
"""

import dataclasses
import random

from recipes.data.toy.questions import DEEDS, PEOPLE

DESCRIPTION = (
    "Passages of facts and questions that paraphrase one of them, generated "
    "(recipes/data/toy/facts.py)."
)
_DEEDS = dict(list(DEEDS.items())[:6])
_THINGS = "boat bridge clock garden house lamp mill table tower wagon".split()
_PLACES = "Bergen Cadiz Delft Genoa Lyon Prague Riga Turin".split()
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_ASKED = {
    "thing": "what did {person} {deed} ?",
    "place": "where did {person} {deed} something ?",
    "day": "when did {person} {deed} something ?",
}
_QUESTIONS = 3  # of a passage


@dataclasses.dataclass(frozen=True)
class Row:
    """A question and its passage.

    Attributes:
        title: String, of the passage.
        context: String, the passage: sentences that end in " .".
        question: String.
        answers: The right answer, as a tuple with one pair of a string and where it starts.
        sentence: Integer, the sentence that has the answer.
        matching: The words of question and sentence that mean the same deed.
    """

    title: str
    context: str
    question: str
    answers: tuple
    sentence: int
    matching: tuple[str, str]


def splits(train=1500, validation=150, test=300, *, seed=0):
    """Returns three lists of rows that share no passage, of so many questions, a multiple of 3.

    >>> [len(part) for part in splits(train=9, validation=3, test=6)]
    [9, 3, 6]
    """
    rows = generate(train + validation + test, seed=seed)
    return rows[:train], rows[train : train + validation], rows[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` rows, three of each passage."""
    rng = random.Random(seed)
    rows, passages = [], set()
    while len(rows) < count:
        facts = _facts(rng)
        context = " ".join(sentence for sentence, _ in facts)
        if context not in passages:
            passages.add(context)
            rows += _questions(rng, f"Passage {len(passages)}", context, facts)
    return rows[:count]


def _facts(rng):
    """Five facts: pairs of a sentence and what it tells. The last is of a third person."""
    people, deeds = rng.sample(PEOPLE, 3), rng.sample(sorted(_DEEDS), 3)
    done = [(person, deed) for person in people[:2] for deed in deeds[:2]]
    done.append((people[2], deeds[2]))
    rng.shuffle(done)
    drawn = [rng.sample(values, len(done)) for values in (_THINGS, _PLACES, _DAYS)]
    facts = []
    for (person, deed), thing, place, day in zip(done, *drawn, strict=True):
        where_and_when = rng.sample([f"in {place}", f"on {day}"], 2)
        sentence = " ".join([person, _DEEDS[deed], "a", thing, *where_and_when, "."])
        facts.append((sentence, {"person": person, "deed": deed, "thing": thing, "place": place,
                                 "day": day}))  # fmt: skip
    return facts


def _questions(rng, title, context, facts):
    for number in rng.sample(range(len(facts)), _QUESTIONS):
        sentence, told = facts[number]
        kind = rng.choice(sorted(_ASKED))
        begin = sum(len(before) + 1 for before, _ in facts[:number])
        answer = told[kind], begin + sentence.index(f" {told[kind]} ") + 1
        deed = told["deed"]
        question = _ASKED[kind].format(**told)
        yield Row(title, context, question, (answer,), number, (deed, _DEEDS[deed]))
