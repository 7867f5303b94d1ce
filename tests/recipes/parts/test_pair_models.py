"""How two texts are compared, and the words that they share."""

import keras
import numpy as np
import pytest

from recipes.parts.pair_models import ARCHITECTURES, Text
from recipes.parts.shared_words import NUM_FEATURES, SharedWords

QUERY, DOCUMENT = np.array([[2, 3, 1]], "int32"), np.array([[2, 3, 3, 4, 1]], "int32")
IDF = np.array([0, 9, 1, 2, 3], "float32")


@pytest.fixture
def shared():
    layer = SharedWords(5)
    layer(QUERY, DOCUMENT)
    layer.set_statistics(IDF, 4.0)
    return layer


def test_shared_words_by_hand(shared):
    pair, query, document = (np.array(x)[0] for x in shared(QUERY, DOCUMENT))
    assert pair.shape == (NUM_FEATURES,)
    np.testing.assert_allclose(query[:, 0], [1, 1, 0])  # an unknown word is never shared
    np.testing.assert_allclose(document[:, 0], [1, 1, 1, 0, 0])
    np.testing.assert_allclose(document[:, 2] * 8, [1, 2, 2, 3, 9])
    np.testing.assert_allclose(pair[[0, 2, 4]], [2 / 5, 3 / 10, 5 / 20], rtol=1e-5)
    np.testing.assert_allclose(pair[6], 1 / 3)  # the run 2 3
    length = 1 - 0.75 + 0.75 * 5 / 4
    bm25 = 1 * 2.2 / (1 + 1.2 * length) + 2 * 2 * 2.2 / (2 + 1.2 * length)
    np.testing.assert_allclose(pair[9], bm25 / 10, rtol=1e-5)


def test_padding_of_shared_words_changes_nothing(shared):
    padded = shared(np.pad(QUERY, ((0, 0), (0, 4))), np.pad(DOCUMENT, ((0, 0), (0, 2))))
    for x, y, length in zip(shared(QUERY, DOCUMENT), padded, (NUM_FEATURES, 3, 5), strict=True):
        np.testing.assert_allclose(np.array(y)[:, :length], x, atol=1e-6)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padding_changes_nothing_and_weights_sum_to_one(name, attention):
    rng = np.random.default_rng(0)
    texts = [rng.normal(size=(2, length, 6)).astype("float32") for length in (3, 5)]
    steps = [keras.Input((None, 6)) for _ in texts]
    known = [keras.Input((None,), dtype="bool") for _ in texts]
    pair = [Text(x, mask, x) for x, mask in zip(steps, known, strict=True)]
    vectors, weights = ARCHITECTURES[name](*pair, units=6, attention=attention, max_steps=9)
    model = keras.Model([*steps, *known], [*vectors, weights])
    masks = [np.ones(x.shape[:2], bool) for x in texts]
    *expected, weights = map(np.array, model([*texts, *masks]))
    assert weights.shape == (2, 5, 3)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    wide = [np.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=100) for x in texts]
    masks = [np.pad(mask, ((0, 0), (0, 2))) for mask in masks]
    *found, padded = map(np.array, model([*wide, *masks]))
    for x, y in zip(expected, found, strict=True):
        np.testing.assert_allclose(y, x, atol=1e-4)
    np.testing.assert_allclose(padded[:, :5, :3], weights, atol=1e-5)
