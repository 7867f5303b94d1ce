"""Linear models over tf-idf."""

import dataclasses

import pytest

from recipes.baselines import tfidf
from recipes.data import texts


@pytest.mark.parametrize("accuracy", [tfidf.logistic_regression, tfidf.linear_svm])
def test_it_learns_words_and_pairs_also_from_validation(accuracy):
    data = texts.load("toy", seed=0, limit=40)
    train = dataclasses.replace(data.train, texts=["so good"] * 40)
    validation = dataclasses.replace(
        data.validation,
        texts=[["all bad", "all fine"][label] for label in data.validation.labels],
    )
    test = dataclasses.replace(
        data.test, texts=[["bad", "fine"][label] for label in data.test.labels]
    )
    data = dataclasses.replace(data, train=train, validation=validation, test=test)
    assert accuracy(data) == 1.0


@pytest.mark.parametrize("accuracy", [tfidf.logistic_regression, tfidf.linear_svm])
def test_texts_without_a_word_get_the_commonest_label(accuracy):
    data = texts.load("toy", seed=0, limit=40)
    signs = {
        part: dataclasses.replace(split, texts=["+ -"] * len(split))
        for part, split in data.splits.items()
    }
    assert 0.4 <= accuracy(dataclasses.replace(data, **signs)) <= 0.6
