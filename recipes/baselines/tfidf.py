"""Linear models over tf-idf, what a text classifier should beat."""

import numpy as np


def logistic_regression(data):
    """Test accuracy of logistic regression over tf-idf of words and pairs of words.

    It has no use for a validation split, so it learns from that as well.

    Args:
        data: `recipes.data.texts.LabelledTexts`.
    """
    from sklearn.linear_model import LogisticRegression

    return _accuracy(data, LogisticRegression(C=10, max_iter=1000))


def linear_svm(data):
    """As `logistic_regression`, with a linear support vector machine."""
    from sklearn.svm import LinearSVC

    return _accuracy(data, LinearSVC(C=0.5, random_state=0))


def _accuracy(data, classifier):
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    texts = data.train.texts + data.validation.texts
    labels = np.concatenate([data.train.labels, data.validation.labels])
    min_df = 2 if len(texts) > 1000 else 1
    tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=min_df)
    try:
        model = make_pipeline(tfidf, classifier).fit(texts, labels)
    except ValueError as error:
        if "vocabulary" not in str(error) and "no terms remain" not in str(error).lower():
            raise
        model = DummyClassifier().fit(texts, labels)  # no word to learn from: the commonest label
    return float(model.score(data.test.texts, data.test.labels))
