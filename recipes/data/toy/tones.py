"""Words of a made-up language of tones, joined with noise between and under them.

Each word is a tone that stays, rises or falls; a speaker has a pitch of his own. It is known where
in the sound each word is. A split `long` has more words than any text to train on.

>>> utterance = generate(1, seed=0)[0]
>>> utterance.text, len(utterance.segments), utterance.samples.dtype
('fa mi re re do', 5, dtype('float32'))
"""

import dataclasses

import numpy as np

DESCRIPTION = (
    "Words of tones that stay, rise or fall (recipes/data/toy/tones.py), joined, in noise."
)
RATE = 8000  # samples per second
# Of each word the frequencies in Hertz that it goes through, evenly.
WORDS = {
    "do": (400, 400),
    "re": (700, 1300),
    "mi": (1300, 700),
    "fa": (2000, 2000),
    "so": (1900, 3000, 1900),
}
_SHORT, _LONG = (2, 5), (8, 11)  # words of a text, from and to


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A sound and what is said in it.

    Attributes:
        name: String, like the name of a file.
        text: String, the words.
        samples: float32 array, in [-1, 1], `RATE` a second.
        segments: List of pairs, for each word the first sample and the one behind its last.
    """

    name: str
    text: str
    samples: np.ndarray
    segments: list


def splits(train=400, validation=40, test=80, long=40, *, seed=0):
    """Returns four lists of utterances: to train, validate and test, and longer ones."""
    rows = generate(train + validation + test, seed=seed)
    return (
        rows[:train],
        rows[train : train + validation],
        rows[train + validation :],
        generate(long, words=_LONG, seed=seed + 1, name="long"),
    )


def generate(count, *, words=_SHORT, seed=0, name="toy"):
    """Returns `count` utterances.

    Args:
        words: Pair of integers, the fewest and the most words of a text.
        seed: Integer.
        name: String that their names begin with.
    """
    rng = np.random.default_rng(seed)
    return [_utterance(rng, words, f"{name}{number:04d}.wav") for number in range(count)]


def _utterance(rng, words, name):
    said = [str(word) for word in rng.choice(list(WORDS), rng.integers(words[0], words[1] + 1))]
    pitch = rng.uniform(0.92, 1.08)
    parts, segments, now = [], [], 0
    for word in said:
        silence = np.zeros(rng.integers(RATE // 50, RATE // 12))
        tone = _tone(WORDS[word], pitch, rng.integers(RATE // 9, RATE // 6))
        now += len(silence)
        segments.append((now, now + len(tone)))
        now += len(tone)
        parts += [silence, tone]
    samples = np.concatenate([*parts, np.zeros(RATE // 40)])
    samples = samples * rng.uniform(0.15, 0.4) + rng.normal(0, 0.01, len(samples))
    return Utterance(name, " ".join(said), samples.astype("float32"), segments)


def _tone(frequencies, pitch, count):
    """`count` samples of a tone that goes through the frequencies, soft at both ends."""
    at = np.linspace(0, len(frequencies) - 1, count)
    frequency = pitch * np.interp(at, range(len(frequencies)), frequencies)
    return np.sin(2 * np.pi * np.cumsum(frequency) / RATE) * np.sin(
        np.pi * np.linspace(0, 1, count)
    )
