"""Commands from a grammar in which we know which word decides the intent and what each slot is.

A command asks to do something with a thing, for somebody, between two cities, on a day. One word, a
verb, decides the intent, and stands at any position; all else says nothing about it. Slots are
people, of one or two words; cities, which leave or reach somebody, as the word before them tells;
and days, of which a word far away, "Leaving" or "Arriving", tells which they are. Many names are
made up and occur once: their endings tell people from cities.

>>> command = generate(1, seed=4)[0]
>>> " ".join(command.tokens.split()[:13])
'Arriving with my sister please postpone the note of Dola Miri to Lekavaburg'
>>> command.tags.split()[8:14]
['O', 'B-person', 'I-person', 'O', 'B-arrival_city', 'O']
>>> command.intent, command.tokens.split()[command.deciding]
('move', 'postpone')
"""

import dataclasses
import random

from recipes.data.toy import grammar

DESCRIPTION = (
    "Commands from a grammar (recipes/data/toy/commands.py), with planted slots and a word that "
    "decides the intent."
)
VERBS = {
    "send": "send mail post forward deliver".split(),
    "cancel": "cancel drop delete remove undo".split(),
    "show": "show display list read open".split(),
    "move": "move shift delay postpone reschedule".split(),
}
_SYLLABLES = "ba do fe gi ka le mi no pe ra su ti va zo".split()
_TEMPLATES = [
    "{polite} *{verb} the {thing} {person} {route}{day}",
    "{polite} take the {thing} {person} and *{verb} it {route}{day}",
    "the {thing} {person} {route}is what you should *{verb} {day}",
    "{route}here is one {thing} {person} to *{verb} {day}",
    "{polite} *{verb} it {route}and tell me {day}",
]
_SLOTS = {
    "polite": ["please", "could you", "now", "would you kindly", "I want you to"],
    "thing": ["report", "letter", "ticket", "invitation", "note", "order", "contract", "picture"],
    "bags": ["with two bags", "by train", "with my sister", "late as ever", "without a plan"],
}
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_CITY_ENDINGS, _NAME_ENDINGS = ("burg", "ton", "ville"), ("la", "mo", "ri")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command and what is known about it.

    Attributes:
        tokens: The tokens, set apart by spaces.
        tags: The tag of each, in IOB2, set apart by spaces.
        intent: String, one of `VERBS`.
        deciding: Integer, the position of the verb that decides the intent.
        day: Integer, the position of the day; the first word tells which day it is.
    """

    tokens: str
    tags: str
    intent: str
    deciding: int
    day: int


def splits(train=1500, validation=200, test=400, *, seed=0):
    """Returns three lists of commands that share no sentence.

    >>> [len(part) for part in splits(train=8, validation=2, test=4)]
    [8, 2, 4]
    """
    rows = generate(train + validation + test, seed=seed)
    return rows[:train], rows[train : train + validation], rows[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` commands, no two alike."""
    rng = random.Random(seed)
    commands = {}
    while len(commands) < count:
        command = _command(rng)
        commands.setdefault(command.tokens, command)
    return list(commands.values())


def _command(rng):
    intent = rng.choice(sorted(VERBS))
    day_kind = rng.choice(("departure_day", "arrival_day"))
    template = rng.choice(_TEMPLATES)
    # `[kind words]` marks a slot, `*` the verb.
    filled = grammar.fill(
        rng, template, _SLOTS, verb=rng.choice(VERBS[intent]), person=_person(rng),
        route=_route(rng), day=f"on [{day_kind} {rng.choice(_DAYS)}]",
    )  # fmt: skip
    cue = "Leaving" if day_kind == "departure_day" else "Arriving"
    tokens, tags, kind = [], [], "O"
    for word in f"{cue} {rng.choice(_SLOTS['bags'])} {filled}".split():
        if word.startswith("["):
            kind = f"B-{word[1:]}"
            continue
        tokens.append(word.strip("]"))
        tags.append(kind)
        kind = "O" if word.endswith("]") else kind.replace("B-", "I-")
    deciding = next(index for index, word in enumerate(tokens) if word.startswith("*"))
    tokens[deciding] = tokens[deciding].removeprefix("*")
    return Command(
        " ".join(tokens), " ".join(tags), intent, deciding, day=tags.index(f"B-{day_kind}")
    )


def _person(rng):
    names = [_made_up(rng, _NAME_ENDINGS) for _ in range(rng.choice((1, 2)))]
    return rng.choice(("for", "of", "to")) + f" [person {' '.join(names)}]"


def _route(rng):
    parts = [
        f"from [departure_city {_made_up(rng, _CITY_ENDINGS)}]",
        f"to [arrival_city {_made_up(rng, _CITY_ENDINGS)}]",
    ]
    rng.shuffle(parts)
    return " ".join(
        [*parts[: rng.choice((0, 1, 2, 2))], " "]
    )  # not empty: else it counts as missing


def _made_up(rng, endings):
    first = "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((1, 2, 3))))
    return (first + rng.choice(endings)).capitalize()
