"""Letters in which we know which sentences, and which of their words, decide the label.

Each letter has a heading and paragraphs of neutral filler, among which stand one to three sentences
about the subject that it is labelled with. Most letters hold decoys: sentences about another
subject that someone only dreamed, read or saw on a screen, which do not count. What makes a decoy
stands at its beginning or end, often far from the subject's words, and occurs in the filler too; so
neither a list of words nor pairs of words are enough. Numbers and abbreviations with full stops are
among the filler. All sentences are our own.

>>> letter = generate(1, seed=4)[0]
>>> letter.label
'stable'
>>> [letter.text[start:end] for start, end in letter.deciding_sentences]
['As you know, the pony stood beside the saddle for 12 days.',
 'The haystack stood beside the manger for 12 days.']
>>> letter.deciding_words
['pony', 'saddle', 'haystack', 'manger']
"""

import dataclasses
import random
import re

from recipes.data.toy import grammar

DESCRIPTION = (
    "Letters from a grammar (recipes/data/toy/documents.py), with planted sentences about their "
    "subject, decoys about another and filler."
)

_SUBJECTS = {
    "garden": """
        rose tulip hedge lawn fern seedling orchard cactus shovel rake greenhouse shrub pond trowel
        wheelbarrow bulb
    """,
    "harbour": """
        ferry anchor lighthouse buoy trawler mast sail captain pier net tugboat dinghy rudder
        seagull crane sailor
    """,
    "kitchen": """
        oven soup pan cake loaf kettle spoon pepper onion omelette recipe stew ladle sieve saucer
        cupboard
    """,
    "stable": """
        horse saddle pony trough bridle foal hoof stallion mare haystack rider stirrup manger mane
        carriage groom
    """,
    "workshop": """
        hammer chisel plank lathe saw nail drill workbench hinge screwdriver anvil plane clamp rivet
        file vice
    """,
}
SUBJECT_WORDS = {label: words.split() for label, words in _SUBJECTS.items()}
LABELS = tuple(SUBJECT_WORDS)

# The same for every subject, so that its words alone tell it.
_CLAUSES = [
    "the [{word}] stood beside the [{other}] for {number} days",
    "{person} moved the [{word}] behind the [{other}]",
    "the [{word}] by the {colour} wall was older than the [{other}]",
    "nobody touched the [{word}] or the [{other}] {time}",
    "{person} looked after the [{word}] while I cleaned the [{other}]",
    "the [{word}] slipped across the [{other}] {time}",
    "we carried the [{word}] and then the [{other}] to {city}",
    "a new [{word}] arrived {time} and replaced the [{other}]",
    "{person} bought one more [{word}] and lent me an old [{other}]",
]
_TOPIC_FRAMES = [
    "{clause}.",
    "{clause}.",
    "{clause}!",
    "As you know, {clause}.",
    "I can tell you that {clause}.",
]
_DECOY_FRAMES = [
    "Last night I dreamed that {clause}.",
    "In the novel that {person} lent me, {clause}.",
    "On television they showed how {clause}.",
    "{clause}, or so it went in my dream.",
    "{clause}, as I read in a novel.",
    "{clause}, but that was on television.",
]
_FILLER = [
    "I dreamed badly and woke up at {number} in the morning.",
    "The novel is still on the table in the {colour} room.",
    "We have no television in {city}.",
    "{person} reads a novel a week.",
    "It was a dream of a day, and {person} came along.",
    "The television in the hall is {colour} now.",
    "It has rained for {number} days in {city}.",
    "{person} sends you greetings.",
    "The train from {city} was {number} minutes late {time}!",
    "Do you remember {person}?",
    "I met {person} {time} near the {colour} house.",
    "The bus now costs {number}.50 and leaves at {number} p.m. from the square.",
    "{person} turned {number} {time}, e.g. like your cousin.",
    "I am writing this {time}, with {person} beside me.",
    "How are you? How is {person}?",
    "We walked from {city} as far as the {colour} bridge.",
    "The {colour} coat was too large, so I gave it to {person}.",
    "There is not much else to tell from {city}.",
    "{person} is learning to sing, and we all have to listen.",
    "The post comes {number} times a week, mostly with papers for {person}.",
    "Could you send me the address of {person}?",
    "We shall be back {time}.",
]
_HEADINGS = [
    "A letter from {city}",
    "News from {city} and from {person}",
    "To {person}, {time}",
    "Greetings from the {colour} house",
]
_SLOTS = {
    "person": [
        "my brother", "my sister", "a colleague", "our neighbour", "an old friend", "my father",
        "the doctor", "a student", "your aunt", "the new teacher",
    ],
    "time": [
        "last week", "on Friday", "in March", "this morning", "before the holidays",
        "two days ago", "on Sunday evening", "in the end",
    ],
    "number": ["2", "3", "4", "5", "6", "7", "8", "11", "12"],
    "colour": ["blue", "green", "red", "grey", "white", "black", "yellow", "brown"],
    "city": ["Lisbon", "Oslo", "Turin", "Leeds", "Ghent", "Porto", "Malmo", "Graz", "Lyon"],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Letter:
    """A letter, its label, and where the sentences and words stand that decide it.

    Attributes:
        text: The letter: a heading, an empty line, and paragraphs.
        label: One of `LABELS`.
        deciding_sentences: For each sentence about the subject its `(start, end)` in characters.
        deciding: The same for each of the subject's words in these sentences.
    """

    text: str
    label: str
    deciding_sentences: tuple[tuple[int, int], ...]
    deciding: tuple[tuple[int, int], ...]

    @property
    def deciding_words(self):
        return [self.text[start:end] for start, end in self.deciding]


def splits(train=3000, validation=400, test=600, *, seed=0):
    """Returns three lists of letters that share no text.

    >>> train, validation, test = splits(train=8, validation=2, test=4)
    >>> len(train), len(validation), len(test)
    (8, 2, 4)
    """
    letters = generate(train + validation + test, seed=seed)
    return letters[:train], letters[train : train + validation], letters[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` letters, no two alike, each label as frequent as the others."""
    rng = random.Random(seed)
    letters, labels = {}, []
    while len(letters) < count:
        labels = labels or rng.sample(LABELS, k=len(LABELS))
        letter = _letter(rng, labels[-1])
        if letter.text not in letters:
            letters[letter.text] = letter
            labels.pop()
    return list(letters.values())


def _letter(rng, label):
    topic = [_about(rng, label, _TOPIC_FRAMES) for _ in range(rng.choice([1, 2, 2, 3]))]
    other = rng.choice([name for name in LABELS if name != label])
    decoys = [
        _about(rng, other, _DECOY_FRAMES).translate({ord("["): None, ord("]"): None})
        for _ in range(rng.choice([0, 0, 1, 1, 2]))
    ]
    filler = [_fill(rng, template) for template in rng.sample(_FILLER, k=rng.randint(3, 10))]
    sentences = topic + decoys + filler
    rng.shuffle(sentences)
    text, topic_sentences, words = _capital(_fill(rng, rng.choice(_HEADINGS))), [], []
    for index, sentence in enumerate(sentences):
        text += "\n\n" if index == 0 else rng.choice(["\n\n", "\n", " ", " ", " ", " "])
        plain, spans = _unmark(_capital(sentence))
        if spans:
            topic_sentences.append((len(text), len(text) + len(plain)))
        words += [(len(text) + start, len(text) + end) for start, end in spans]
        text += plain
    return Letter(text, label, tuple(topic_sentences), tuple(words))


def _about(rng, label, frames):
    word, other = rng.sample(SUBJECT_WORDS[label], k=2)
    clause = rng.choice(_CLAUSES)
    return _fill(rng, rng.choice(frames).replace("{clause}", clause), word=word, other=other)


def _capital(sentence):
    return sentence[0].upper() + sentence[1:]


def _fill(rng, template, **given):
    return grammar.fill(rng, template, _SLOTS, **given)


def _unmark(marked):
    """Returns the text without its brackets, and the span of each word that stood in them.

    >>> _unmark("A [plank] here.")
    ('A plank here.', [(2, 7)])
    """
    text, spans = "", []
    for plain, word in re.findall(r"([^\[]*)(?:\[([^\]]*)\])?", marked):
        text += plain
        if word:
            spans.append((len(text), len(text) + len(word)))
        text += word
    return text, spans
