"""The toy reviews: the label follows from the marked words, and from nothing else."""

import collections

import pytest

from recipes.data.toy import reviews as toy_reviews

NEGATIONS = {"not", "never", "hardly", "at", "all"}
POLARITY = {
    word: label
    for lists in toy_reviews.SENTIMENT_WORDS.values()
    for label, words in lists.items()
    for word in words
}


@pytest.fixture(scope="module")
def splits():
    return toy_reviews.splits()


@pytest.fixture(scope="module")
def reviews(splits):
    return [review for split in splits for review in split]


def opinions(review):
    """Yields `(sentiment word, whether it is negated)`, read from the marked words alone."""
    negated = False
    for word in review.deciding_words:
        if word in NEGATIONS:
            negated = True
        else:
            yield word, negated
            negated = False


def test_sizes_and_no_overlap(splits, reviews):
    assert [len(split) for split in splits] == [4000, 500, 1000]
    assert len({review.text for review in reviews}) == len(reviews)


def test_label_follows_from_the_deciding_words(reviews):
    for review in reviews:
        found = list(opinions(review))
        assert 1 <= len(found) <= 3, review
        for word, negated in found:
            assert (POLARITY[word] != review.label) == negated, review


def test_spans_are_whole_words_in_order(reviews):
    for review in reviews:
        assert list(review.deciding) == sorted(set(review.deciding))
        for start, end in review.deciding:
            assert review.text[start:end].isalpha()
            assert not review.text[start - 1].isalpha()
            assert not review.text[end].isalpha()


def test_no_sentiment_outside_the_spans(reviews):
    for review in reviews:
        marked = sum(word in POLARITY for word in review.deciding_words)
        words = review.text.replace(".", " ").replace(",", " ").split()
        assert sum(word.lower() in POLARITY for word in words) == marked, review


def test_filler_holds_negations_too(reviews):
    marked = sum(review.deciding_words.count("not") for review in reviews)
    everywhere = sum(review.text.split().count("not") for review in reviews)
    assert everywhere > 1.5 * marked


def test_length(reviews):
    lengths = [len(review.text.split()) for review in reviews]
    assert min(lengths) >= 20
    assert max(lengths) <= 80
    assert max(lengths) > 2 * min(lengths)


def test_labels_are_balanced_in_each_split(splits):
    for split in splits:
        positive = sum(review.label == "positive" for review in split)
        assert abs(positive - len(split) / 2) <= 1


def test_words_are_equally_frequent_and_negated_alike(reviews):
    counts, negated_counts = collections.Counter(), collections.Counter()
    for review in reviews:
        for word, negated in opinions(review):
            counts[word] += 1
            negated_counts[word] += negated
    assert set(counts) == set(POLARITY)
    assert sum(label == "positive" for label in POLARITY.values()) >= 30
    assert sum(label == "negative" for label in POLARITY.values()) >= 30
    assert max(counts.values()) < 2 * min(counts.values())
    for word, count in counts.items():
        assert 0.15 < negated_counts[word] / count < 0.45, word


def test_length_says_nothing_about_the_label(reviews):
    mean = {
        label: sum(len(review.text.split()) for review in reviews if review.label == label)
        / sum(review.label == label for review in reviews)
        for label in toy_reviews.LABELS
    }
    assert abs(mean["positive"] - mean["negative"]) < 1


def test_same_seed_same_reviews():
    assert toy_reviews.generate(50, seed=5) == toy_reviews.generate(50, seed=5)
    assert toy_reviews.generate(50, seed=5) != toy_reviews.generate(50, seed=6)


def test_two_words_tell_more_than_one_and_not_everything(splits):
    """Negation must be learned: single words are not enough, pairs nearly are."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear_model = pytest.importorskip("sklearn.linear_model")
    train, _, test = splits
    scores = []
    for longest in (1, 2):
        vectorizer = text.TfidfVectorizer(ngram_range=(1, longest), min_df=2, sublinear_tf=True)
        features = vectorizer.fit_transform(review.text for review in train)
        model = linear_model.LogisticRegression(C=10, max_iter=1000)
        model.fit(features, [review.label for review in train])
        scores.append(
            model.score(
                vectorizer.transform(review.text for review in test),
                [review.label for review in test],
            )
        )
    assert scores[0] < 0.85
    assert 0.92 < scores[1] < 0.99
