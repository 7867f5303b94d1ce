"""The toy texts: each line repeats the line before."""

import numpy as np
import pytest

from recipes.data.toy import echoes


def test_each_character_is_the_one_a_line_before():
    texts = [echo.text for split in echoes.splits(20, 5, 5) for echo in split]
    assert len(set(texts)) == 30
    for text in texts:
        assert len(text) == echoes.LINES * echoes.DISTANCE
        assert text[echoes.DISTANCE :] == text[: -echoes.DISTANCE]


def test_the_first_line_cannot_be_guessed():
    lines = "".join(echo.text[: echoes.WIDTH] for echo in echoes.generate(2000))
    counts = np.unique(list(lines), return_counts=True)[1]
    assert len(counts) == len(echoes.LETTERS)
    assert counts.max() < 1.1 * counts.min()
    best = np.log(len(echoes.LETTERS)) * echoes.WIDTH / len(echoes.generate(1)[0].text)
    assert best == pytest.approx(echoes.NATS)


def test_same_seed_same_texts():
    assert echoes.generate(5, seed=5) == echoes.generate(5, seed=5)
    assert echoes.generate(5, seed=5) != echoes.generate(5, seed=6)
