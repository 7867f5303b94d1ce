"""Padded batches."""

import keras
import numpy as np

from recipes.data.batches import DocumentBatches, PaddedBatches
from recipes.text.sentences import GAP

RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(1, 9, size=n).astype("int32") for n in RNG.integers(0, 30, size=100)]
LABELS = np.arange(100)


def _seen(batches):
    return [batches[index] for index in range(len(batches))]


def test_every_text_once_and_whole():
    for seed in (None, 3):
        batches = _seen(PaddedBatches(TEXTS, LABELS, 8, shuffle_seed=seed))
        labels = np.concatenate([labels for _, labels in batches])
        assert sorted(labels) == list(range(100))
        for inputs, labels in batches:
            for ids, label in zip(inputs["ids"], labels, strict=True):
                np.testing.assert_array_equal(ids[ids > 0], TEXTS[label])


def test_a_resumed_epoch_has_the_batches_of_an_uninterrupted_one():
    first = PaddedBatches(TEXTS, LABELS, 8, shuffle_seed=3)
    before = _seen(first)
    first.on_epoch_end()
    resumed = PaddedBatches(TEXTS, LABELS, 8, shuffle_seed=3, epoch=1)
    for (_, one), (_, other) in zip(_seen(first), _seen(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(before, _seen(first), strict=False))


def test_own_class_is_named_in_training_alone():
    for named in (False, True):
        inputs, labels = PaddedBatches(TEXTS, LABELS, 8, names_own_class=named)[0]
        np.testing.assert_array_equal(inputs["own_class"][:, 0], (labels + 1) * named)


def test_long_texts_make_small_batches():
    long = [np.ones(3000, "int32")] * 3
    assert [len(labels) for _, labels in _seen(PaddedBatches(long, np.zeros(3), 8))] == [1, 1, 1]


def test_keras_takes_batches_of_any_length_after_two_that_are_equally_long():
    lengths = np.array([7, 7, 7, 7, 3, 3])
    texts = [np.full(length, 2, "int32") for length in lengths]
    batches = PaddedBatches(texts, np.zeros(6), 2)
    ids, own_class = keras.Input((None,), name="ids"), keras.Input((1,), name="own_class")
    model = keras.Model({"ids": ids, "own_class": own_class}, keras.ops.sum(ids, axis=1))
    totals = model.predict(batches, verbose=0)
    assert sorted(totals) == sorted(2.0 * lengths)


DOCUMENTS = [[list(RNG.integers(1, 9, size=4)) for _ in range(n)] for n in range(12)]


def test_documents_stand_in_rows_of_sentences_with_their_shares():
    shares = np.arange(12) / 10
    batches = DocumentBatches(DOCUMENTS, np.arange(12), 4, max_words=5, shares=shares)
    for inputs, labels in _seen(batches):
        np.testing.assert_allclose(inputs["own_share"][:, 0], shares[labels], rtol=1e-6)
        assert inputs["ids"].shape[2] == 5 + GAP
        for ids, label in zip(inputs["ids"], labels, strict=True):
            rows = [row[row > 0].tolist() for row in ids]
            assert [row for row in rows if row] == DOCUMENTS[label]


def test_long_documents_make_small_batches():
    long = [[[1, 2]] * 1500] * 3
    batches = _seen(DocumentBatches(long, np.zeros(3), 8, max_words=4))
    assert [len(labels) for _, labels in batches] == [1, 1, 1]
