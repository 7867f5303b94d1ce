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
