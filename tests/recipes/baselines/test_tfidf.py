"""Linear models over tf-idf."""

import dataclasses

import pytest

from recipes.baselines import tfidf
from recipes.data import texts


@pytest.mark.parametrize("baseline", [tfidf.logistic_regression, tfidf.linear_svm])
def test_it_learns_words_and_pairs_also_from_validation(baseline):
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
    scores = baseline(data)
    assert scores["accuracy"] == scores["macro_f1"] == 1.0
    assert scores.get("log_loss", 0.0) < 0.2


@pytest.mark.parametrize("baseline", [tfidf.logistic_regression, tfidf.linear_svm])
def test_texts_without_a_word_get_the_commonest_label(baseline):
    data = texts.load("toy", seed=0, limit=40)
    signs = {
        part: dataclasses.replace(split, texts=["+ -"] * len(split))
        for part, split in data.splits.items()
    }
    assert 0.4 <= baseline(dataclasses.replace(data, **signs))["accuracy"] <= 0.6
