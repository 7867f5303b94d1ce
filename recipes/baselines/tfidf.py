"""Linear models over tf-idf, what a text classifier should beat."""

import numpy as np

from recipes.kit import classes


def logistic_regression(data):
    """Scores of logistic regression over tf-idf of words and pairs of words, on the test split.

    It has no use for a validation split, so it learns from that as well.

    Args:
        data: `recipes.data.texts.LabelledTexts`.

    Returns:
        Dict with `accuracy`, `macro_f1` and, if the model gives probabilities, `log_loss`.
    """
    from sklearn.linear_model import LogisticRegression

    return _scores(data, LogisticRegression(C=10, max_iter=1000))


def linear_svm(data):
    """As `logistic_regression`, with a linear support vector machine."""
    from sklearn.svm import LinearSVC

    return _scores(data, LinearSVC(C=0.5, random_state=0))


def _scores(data, classifier):
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
    labels, texts = data.test.labels, data.test.texts
    if hasattr(model, "predict_proba"):
        probabilities = np.zeros((len(texts), len(data.labels)))
        probabilities[:, model.classes_] = model.predict_proba(texts)
        return classes.measure(labels, probabilities)
    found = model.predict(texts)
    return {
        "accuracy": float(np.mean(found == labels)),
        "macro_f1": classes.macro_f1(labels, found),
    }
