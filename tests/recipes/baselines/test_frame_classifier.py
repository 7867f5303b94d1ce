"""Speech without a network: a classifier of frames that nobody told which frame is which token."""

import numpy as np

from recipes.baselines import frame_classifier

RNG = np.random.default_rng(0)
SOUNDS = RNG.normal(0, 1, (3, 6))  # of the tokens 4, 5 and 6


def spoken(ids):
    """Frames `(T, 6)` of tokens of 8 to 12 frames each."""
    parts = [np.repeat(SOUNDS[number - 4][None], RNG.integers(8, 13), axis=0) for number in ids]
    frames = np.concatenate(parts)
    return frames + RNG.normal(0, 0.2, frames.shape)


def test_it_finds_tokens_also_two_alike_in_a_row():
    ids = [RNG.integers(4, 7, RNG.integers(2, 5)) for _ in range(60)]
    frames = [spoken(row) for row in ids]
    test = [[4, 5, 6], [5, 5, 4], [6]]
    found = frame_classifier.recognize(
        (frames[:50], ids[:50]), (frames[50:], ids[50:]), [[spoken(row) for row in test]]
    )
    assert found == [test]


def test_sounds_too_short_for_their_text_and_one_token_alone_are_no_error():
    short = ([np.ones((3, 6))], [[4, 5]])
    assert frame_classifier.recognize(short, short, [short[0], []]) == [[[]], []]
    assert frame_classifier.features(np.ones((2, 6))).shape == (1, 30)
