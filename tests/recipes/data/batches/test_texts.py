"""Batches of texts and of documents."""

import keras
import numpy as np

from recipes.data.batches import DocumentBatches, PaddedBatches
from recipes.text.sentences import GAP
from tests.recipes.data.batches.examples import DOCUMENTS, LABELS, TEXTS, collect


def test_every_text_once_and_whole():
    for seed in (None, 3):
        batches = collect(PaddedBatches(TEXTS, LABELS, 8, shuffle_seed=seed))
        labels = np.concatenate([labels for _, labels in batches])
        assert sorted(labels) == list(range(100))
        for inputs, labels in batches:
            for ids, label in zip(inputs["ids"], labels, strict=True):
                np.testing.assert_array_equal(ids[ids > 0], TEXTS[label])


def test_own_class_is_named_in_training_alone():
    for named in (False, True):
        inputs, labels = PaddedBatches(TEXTS, LABELS, 8, names_own_class=named)[0]
        np.testing.assert_array_equal(inputs["own_class"][:, 0], (labels + 1) * named)


def test_long_texts_make_small_batches():
    long = [np.ones(90_000, "int32")] * 3
    assert [len(labels) for _, labels in collect(PaddedBatches(long, np.zeros(3), 8))] == [2, 1]


def test_keras_takes_batches_of_any_length_after_two_that_are_equally_long():
    lengths = np.array([7, 7, 7, 7, 3, 3])
    texts = [np.full(length, 2, "int32") for length in lengths]
    batches = PaddedBatches(texts, np.zeros(6), 2)
    ids, own_class = keras.Input((None,), name="ids"), keras.Input((1,), name="own_class")
    model = keras.Model({"ids": ids, "own_class": own_class}, keras.ops.sum(ids, axis=1))
    totals = model.predict(batches, verbose=0)
    assert sorted(totals) == sorted(2.0 * lengths)


def test_documents_stand_in_rows_of_sentences_with_their_shares():
    shares = np.arange(12) / 10
    batches = DocumentBatches(DOCUMENTS, np.arange(12), 4, max_words=5, shares=shares)
    for inputs, labels in collect(batches):
        np.testing.assert_allclose(inputs["own_share"][:, 0], shares[labels], rtol=1e-6)
        assert inputs["ids"].shape[2] == 5 + GAP
        for ids, label in zip(inputs["ids"], labels, strict=True):
            rows = [row[row > 0].tolist() for row in ids]
            assert [row for row in rows if row] == DOCUMENTS[label]


def test_long_documents_make_small_batches():
    long = [[[1, 2]] * 1500] * 3
    batches = collect(DocumentBatches(long, np.zeros(3), 8, max_words=4))
    assert [len(labels) for _, labels in batches] == [1, 1, 1]
