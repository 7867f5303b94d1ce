"""The layer that splits sentences, by the plain rule."""

import keras
import numpy as np
import pytest

from recipes.parts.split_sentences import SplitSentences
from recipes.text import sentences
from tests.backend import to_numpy
from tests.recipes.text.test_sentences import KINDS, VOCABULARY


def _layer(max_words):
    layer = SplitSentences(len(VOCABULARY), max_words)
    layer.build((None, None))
    layer.kinds.assign(KINDS)
    return layer


@pytest.mark.parametrize("max_words", [4, 5, 11, 60])
def test_layer_agrees_with_the_rule(max_words):
    rng = np.random.default_rng(max_words)
    # Mostly marks, letters and numbers, in texts of all lengths.
    texts = [
        rng.choice(np.arange(1, 20), size=size).astype("int32")
        for size in [0, 1, 2, 3, *rng.integers(4, 60, size=60)]
    ]
    ids = np.zeros((len(texts), 61), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    found = to_numpy(_layer(max_words)(ids))
    expected = sentences.grid(
        [sentences.split(text, KINDS, max_words) for text in texts], max_words
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[:, :, max_words:], 0)  # the gap
    for grid, text in zip(found, texts, strict=True):
        np.testing.assert_array_equal(grid[grid > 0], text)


def test_a_batch_without_any_text_is_one_row_of_padding():
    assert to_numpy(_layer(4)(np.zeros((2, 3), "int32"))).tolist() == [[[0] * 6]] * 2


def test_symbolic_shape():
    grid = _layer(7)(keras.Input((None,), dtype="int32"))
    assert grid.shape == (None, None, 9) and grid.dtype == "int32"
