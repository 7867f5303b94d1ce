"""Reviews from a grammar in which we know which words decide the label.

Each review mixes neutral filler with one to three opinions. An opinion is a sentiment word, and
about three in ten of them are turned around by a negation ("not at all dull" is praise), so that a
list of good and bad words is not enough. The filler holds negations too ("We did not order
dessert."), so that counting them does not help. Filler, subject and length say nothing about the
label. All sentences are our own.

>>> review = generate(1, seed=3)[0]
>>> review.label
'negative'
>>> review.deciding_words
['not', 'at', 'all', 'satisfied', 'appalled', 'appalled']
"""

import dataclasses
import random
import re

from recipes.data.toy import grammar

LABELS = ("negative", "positive")
DESCRIPTION = (
    "Reviews of films, products and restaurants from a grammar (recipes/data/toy/reviews.py), with "
    "planted sentiment words, negation and filler."
)

# Adjectives fit "The plot was ...", verbs "The plot ... me" and "We were ... by the plot".
_WORD_LISTS = {
    "adjective": {
        "positive": """
            good great excellent wonderful superb brilliant charming delightful fantastic lovely
            impressive outstanding splendid marvelous terrific pleasant perfect remarkable elegant
            enjoyable magnificent stunning
        """,
        "negative": """
            bad terrible awful horrible dreadful boring dull poor disappointing lousy mediocre ugly
            annoying pathetic tedious clumsy ridiculous unpleasant shabby miserable horrid atrocious
        """,
    },
    "verb": {
        "positive": """
            impressed delighted thrilled charmed pleased amazed convinced enchanted satisfied
            captivated
        """,
        "negative": """
            disappointed annoyed bored irritated disgusted frustrated angered offended appalled
            exhausted
        """,
    },
}
# {kind: {label a word stands for: words}}
SENTIMENT_WORDS = {
    kind: {label: words.split() for label, words in lists.items()}
    for kind, lists in _WORD_LISTS.items()
}
NEGATION_RATE = 0.3

# Brackets enclose the words that decide; braces are filled in.
_OPINIONS = {
    "adjective": (
        ["{the} {aspect} was{very} [{word}]", "I found {the} {aspect}{very} [{word}]"],
        [
            "{the} {aspect} was [not {word}]",
            "{the} {aspect} was [never {word}]",
            "{the} {aspect} was [hardly {word}]",
            "{the} {aspect} was [not at all {word}]",
        ],
    ),
    "verb": (
        [
            "{the} {aspect}{really} [{word}] {us}",
            "{us_subject} were{very} [{word}] by {the} {aspect}",
        ],
        [
            "{the} {aspect} [never {word}] {us}",
            "{us_subject} were [not {word}] by {the} {aspect}",
            "{us_subject} were [not at all {word}] by {the} {aspect}",
        ],
    ),
}
_CONTEXTS = [
    "{opinion}.",
    "{opinion}.",
    "{opinion} {time}.",
    "All in all {opinion}.",
    "As I said, {opinion}.",
]

_SLOTS = {
    "the": ["the", "the", "this", "its"],
    "very": ["", "", "", " very", " really", " truly", " so"],
    "really": ["", "", " really", " truly"],
    "us": ["me", "us", "my sister", "my friends", "everyone"],
    "us_subject": ["we", "they", "my friends", "my parents", "the neighbours"],
    "time": [
        "last week", "on Friday", "in March", "this time", "on the first day", "in the end",
        "after an hour", "on Sunday evening", "before the holidays", "two days ago",
    ],
    "person": [
        "my brother", "my sister", "a colleague", "my neighbour", "our cousin", "an old friend",
        "my father", "the whole family", "a student of mine",
    ],
    "number": ["two", "three", "four", "five", "six", "seven", "eight", "ten", "twelve"],
    "colour": ["blue", "green", "red", "grey", "white", "black", "yellow", "brown"],
    "city": ["Lisbon", "Oslo", "Turin", "Leeds", "Ghent", "Porto", "Malmo", "Graz", "Lyon"],
}  # fmt: skip
_COMMON_FILLER = [
    "{person} told me about it {time}.",
    "We talked about it with {person} {time}.",
    "I read about it in a magazine {time}.",
    "I am writing this {time}, with {person} beside me.",
    "{person} asked me to write these lines {time}.",
    "It was raining {time} and the streets of {city} were full.",
    "We had come from {city} by train with {number} bags.",
    "I had not heard of it before, and {person} had not either.",
    "{person} did not come along {time}.",
    "Nobody had told me anything about it {time}.",
]
_SUBJECTS = {
    "film": (
        "plot acting ending music script camera dialogue director cast story opening editing",
        [
            "We saw it {time} at the cinema in {city}.",
            "It runs for {number} hours, with a break after the first part.",
            "The story takes place in {city} in the year of the long flood.",
            "{person} sat next to me in row {number}.",
            "The hero lives with {number} cats in a {colour} house near {city}.",
            "There are {number} songs and a long scene on a {colour} boat.",
            "The same director made {number} other films in {city}.",
            "I did not read the book, and {person} did not either.",
            "In the second half they never leave the {colour} train to {city}.",
            "The tickets were {colour} and the doors opened {time}.",
        ],
    ),
    "product": (
        "battery screen keyboard sound design handle packaging manual software camera case cable",
        [
            "I ordered it {time} from a shop in {city}.",
            "It came in a {colour} box with {number} screws and a cable.",
            "It weighs {number} pounds and stands on the desk beside the {colour} lamp.",
            "{person} has the same one in {colour}.",
            "I use it {number} times a week, mostly in the kitchen.",
            "The {colour} button is on the left, next to {number} small lights.",
            "It replaces one that I bought in {city} {number} years ago.",
            "I have not tried the {colour} cover yet.",
            "I never take it along when I travel to {city}.",
            "There are {number} of them in our office in {city}.",
        ],
    ),
    "restaurant": (
        "soup service dessert wine menu terrace bread kitchen waiter breakfast salad coffee",
        [
            "We came {time} and sat at a {colour} table for {number}.",
            "The house is in {city}, {number} minutes from the station.",
            "We shared {number} plates and a bottle of water.",
            "{person} had fish, and I took the noodles.",
            "There are {number} tables inside and a {colour} door to the garden.",
            "The owner moved here from {city} {number} years ago.",
            "They open at {number} and close on Mondays.",
            "We did not order a second course {time}.",
            "{person} never eats meat and asked for the {colour} card.",
            "On the wall hang {number} pictures of {city}.",
        ],
    ),
}


@dataclasses.dataclass(frozen=True)
class Review:
    """A review, its label, and where the words stand that decide it.

    Attributes:
        text: The review, 20 to 80 words.
        label: `"negative"` or `"positive"`.
        deciding: For each deciding word (a sentiment word or a word of its negation) its `(start,
            end)` in characters, so that `text[start:end]` is the word; in the order of the text.
    """

    text: str
    label: str
    deciding: tuple[tuple[int, int], ...]

    @property
    def deciding_words(self):
        return [self.text[start:end] for start, end in self.deciding]


def splits(train=4000, validation=500, test=1000, *, seed=0):
    """Returns three lists of reviews that share no text.

    >>> train, validation, test = splits(train=8, validation=2, test=4)
    >>> len(train), len(validation), len(test)
    (8, 2, 4)
    """
    reviews = generate(train + validation + test, seed=seed)
    return reviews[:train], reviews[train : train + validation], reviews[train + validation :]


def generate(count, *, seed=0):
    """Returns `count` reviews, no two alike, the labels balanced at any length of the list."""
    rng = random.Random(seed)
    reviews = {}
    while len(reviews) < count:
        if len(reviews) % 2 == 0:
            first = rng.choice(LABELS)
            label = first
        else:  # the other label of this pair: a slice of the list stays balanced
            label = LABELS[1 - LABELS.index(first)]
        review = _review(rng, label)
        reviews.setdefault(review.text, review)
    return list(reviews.values())


def _review(rng, label):
    aspects, filler = _SUBJECTS[rng.choice(sorted(_SUBJECTS))]
    sentences = [_opinion(rng, label, aspects.split()) for _ in range(rng.choice([1, 2, 2, 3, 3]))]
    # Filler up to the wanted length, each template once, in any place around the opinions.
    wanted_words = rng.randint(20, 60)
    filler = rng.sample(filler + _COMMON_FILLER, k=len(filler) + len(_COMMON_FILLER))
    while sum(len(sentence.split()) for sentence in sentences) < wanted_words:
        sentences.insert(rng.randint(0, len(sentences)), _fill(rng, filler.pop()))
    text, deciding = _unmark(" ".join(sentence[0].upper() + sentence[1:] for sentence in sentences))
    return Review(text, label, deciding)


def _opinion(rng, label, aspects):
    negated = rng.random() < NEGATION_RATE
    polarity = label if not negated else LABELS[1 - LABELS.index(label)]
    # From both kinds together: each word is as frequent as any other.
    kind, word = rng.choice(
        [(kind, word) for kind, words in SENTIMENT_WORDS.items() for word in words[polarity]]
    )
    opinion = rng.choice(_OPINIONS[kind][negated])
    sentence = rng.choice(_CONTEXTS).replace("{opinion}", opinion)
    return _fill(rng, sentence, word=word, aspect=rng.choice(aspects))


def _fill(rng, template, **given):
    return grammar.fill(rng, template, _SLOTS, **given)


def _unmark(marked):
    """Returns the text without its brackets, and the span of each word that stood in them.

    >>> _unmark("It was [not good].")
    ('It was not good.', ((7, 10), (11, 15)))
    """
    text, spans = "", []
    for plain, bracketed in re.findall(r"([^\[]*)(?:\[([^\]]*)\])?", marked):
        text += plain
        spans += [
            (len(text) + word.start(), len(text) + word.end())
            for word in re.finditer(r"\w+", bracketed)
        ]
        text += bracketed
    return text, tuple(spans)
