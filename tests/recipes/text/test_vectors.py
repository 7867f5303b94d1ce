"""Vectors of words from texts without labels."""

import numpy as np

from recipes.text import vectors


def test_words_with_the_same_neighbours_are_alike():
    rng = np.random.default_rng(0)
    # 1 and 2 stand beside 3 and 4, and 5 and 6 beside 7 and 8.
    texts = [
        np.array([rng.choice([1, 2]), rng.choice([3, 4])])
        if rng.random() < 0.5
        else np.array([rng.choice([5, 6]), rng.choice([7, 8])])
        for _ in range(300)
    ]
    found = vectors.cooccurrence_vectors(texts, 12, 4)
    assert found.shape == (12, 4)
    np.testing.assert_allclose(np.mean(np.square(found[1:9]), axis=1), 1, rtol=1e-5)
    cosines = found @ found.T / 4
    assert cosines[1, 2] > 0.9 and abs(cosines[1, 5]) < 0.1
    assert not found[[0, 9, 10, 11]].any()  # never seen
    np.testing.assert_array_equal(found, vectors.cooccurrence_vectors(texts, 12, 4))


def test_vectors_may_be_longer_than_the_vocabulary():
    assert vectors.cooccurrence_vectors([np.array([1, 2])], 3, 5).shape == (3, 5)
