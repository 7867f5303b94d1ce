"""Captions of the most similar image."""

import numpy as np

from recipes.baselines import nearest


def test_nearest_caption_is_the_one_that_agrees_most_with_its_others():
    grids = np.zeros((2, 2, 2, 3), "float16")
    grids[0, ..., 0], grids[1, ..., 1] = 1, 5
    texts = [["A red wall."], ["Nothing.", "A green wall!", "a wall"]]
    tests = np.zeros((1, 2, 2, 3), "float16")
    tests[..., 1] = 0.1
    assert nearest.captions(grids, texts, tests) == ["a green wall"]
