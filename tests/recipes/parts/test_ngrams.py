"""N-grams, against plain Python."""

import keras
import numpy as np
import pytest

from recipes.parts import ngrams
from tests.backend import call, to_numpy

VOCABULARY, ORDER = 50, 3


def _texts(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 9, size=rng.integers(1, 12)) for _ in range(count)]


def _ngrams(text):
    text = [int(number) for number in text]
    for end in range(len(text)):
        for size in range(1, ORDER + 1):
            if end + 1 >= size:
                yield end, size, tuple(text[end + 1 - size : end + 1])


def _oracle(texts, labels, min_texts):
    """n-gram to counts per class, counted by sets."""
    counts = {}
    for text, label in zip(texts, labels, strict=True):
        for gram in {gram for _, _, gram in _ngrams(text)}:
            counts.setdefault(gram, [0, 0])[label] += 1
    return {g: c for g, c in counts.items() if len(g) == 1 or sum(c) >= min_texts}


def _selected(texts, labels, min_texts=2):
    return ngrams.select(
        texts,
        labels,
        vocabulary_size=VOCABULARY,
        num_classes=2,
        order=ORDER,
        min_texts=min_texts,
    )


def _padded(texts):
    ids = np.zeros((len(texts), max(map(len, texts))), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return ids


def test_lookup_finds_exactly_the_counted_ngrams_and_their_counts():
    texts = _texts(40)
    labels = np.arange(40) % 2
    keys, counts = _selected(texts, labels)
    expected = _oracle(texts, labels, min_texts=2)
    assert len(keys) == len(expected)
    np.testing.assert_array_equal(counts.sum(0), np.sum(list(expected.values()), axis=0))
    lookup = ngrams.NGramLookup(len(keys), VOCABULARY, ORDER)
    others = _texts(30, seed=1)
    lookup.build((None, None))
    lookup.keys.assign(keys)
    rows = to_numpy(lookup(_padded(others)))
    for text, found in zip(others, rows, strict=True):
        seen = np.zeros_like(found)
        for end, size, gram in _ngrams(text):
            row = found[end, size - 1]
            assert (row > 0) == (gram in expected), gram
            if row:
                assert counts[row - 1].tolist() == expected[gram]
                seen[end, size - 1] = row
        np.testing.assert_array_equal(found, seen)  # nothing in padding, nothing before the start


@pytest.mark.parametrize("num_ngrams", [1, 2, 3, 4, 7, 8, 9])
def test_binary_search_finds_each_key_and_no_other(num_ngrams):
    lookup = ngrams.NGramLookup(num_ngrams, VOCABULARY, 1)
    lookup.build((None, None))
    keys = np.sort(
        np.random.default_rng(0).choice(2**30, num_ngrams, replace=False).astype("int32")
    )
    lookup.keys.assign(keys)
    asked = np.concatenate([keys, keys - 1, keys + 1, [-1, 0, 2**31 - 1]]).astype("int32")
    position = {int(key): index + 1 for index, key in enumerate(keys)}
    expected = [position.get(int(key), 0) for key in asked]
    np.testing.assert_array_equal(to_numpy(lookup._search(asked)), expected)


@pytest.mark.parametrize("vocabulary_size", [100, 16_000, 100_000])
def test_keys_stay_in_31_bits_and_are_alike_in_numpy_and_in_the_model(vocabulary_size):
    ids = [np.full(5, vocabulary_size - 1)] * 2 + [np.arange(5) + vocabulary_size - 5]
    keys = ngrams._key([x.astype("int64") for x in ids], vocabulary_size)
    assert keys.min() >= 0 and keys.max() < 2**31
    tensors = [keras.ops.convert_to_tensor(x, dtype="int32") for x in ids]
    np.testing.assert_array_equal(to_numpy(ngrams._key(tensors, vocabulary_size)), keys)


def test_keys_seldom_collide():
    rng = np.random.default_rng(0)
    grams = np.unique(rng.integers(1, 16_000, size=(300_000, 3)), axis=0)
    keys = ngrams._key(list(grams.T.astype("int64")), 16_000)
    assert len(grams) - len(np.unique(keys)) < 60


def test_evidence_is_the_log_count_ratio_and_leaves_a_texts_own_count_out():
    counts = np.array([[3.0, 0.0], [1.0, 1.0]], "float32")
    layer = ngrams.NaiveBayesEvidence(2, 2)
    layer.build((None, None))
    layer.set_counts(counts)
    total = np.log(counts.sum(0) + 1)

    def ratio(positive, negative):
        e = np.log([positive + 1, negative + 1]) - total
        return e - e.mean()

    rows = np.array([[0, 1, 2]])
    expected = [[0, 0], ratio(3, 0), ratio(1, 1)]
    np.testing.assert_allclose(to_numpy(layer(rows))[0], expected, atol=1e-6)
    without = to_numpy(layer(rows, np.array([[0]])))[0]
    np.testing.assert_allclose(without, expected, atol=1e-6)
    own = to_numpy(layer(rows, np.array([[1]])))[0]
    np.testing.assert_allclose(own, [[0, 0], ratio(2, 0), ratio(0, 1)], atol=1e-6)


def test_evidence_turns_towards_any_class():
    counts = np.array([[3.0, 0.0, 1.0], [1.0, 1.0, 1.0]], "float32")
    rows = np.array([[0, 1, 2]])
    plain, turned = (ngrams.NaiveBayesEvidence(2, 3, turns=turns) for turns in (False, True))
    for layer in (plain, turned):
        layer.build((None, None))
        layer.set_counts(counts)
    np.testing.assert_allclose(to_numpy(turned(rows)), to_numpy(plain(rows)))
    turn = np.array([[9, 9, 9], [0, 1, 0], [2, 0, -1]], "float32")
    turned.turn.assign(turn)
    turned.gain.assign([[1.0], [0.5], [1.0]])
    expected = to_numpy(plain(rows))[0] * [[1], [0.5], [1]] + turn
    expected[0] = 0  # unknown
    for own in (), (np.array([[0]]),):
        np.testing.assert_allclose(to_numpy(turned(rows, *own))[0], expected, atol=1e-6)
    assert ngrams.NaiveBayesEvidence.from_config(turned.get_config()).turns
    assert plain.turn is None  # as the models saved before have it


def test_no_ngram_spans_a_zero_and_texts_count_their_share():
    texts = [np.array([5, 6, 0, 7]), np.array([5, 6, 7])]
    keys, counts = ngrams.select(
        texts, np.array([0, 1]), vocabulary_size=VOCABULARY, num_classes=2, order=2, min_texts=1,
        shares=np.array([0.5, 2.0]),
    )  # fmt: skip
    assert len(keys) == 5  # 5, 6, 7, "5 6" and, in the second text alone, "6 7"
    assert sorted(map(tuple, counts.tolist())) == [(0.0, 2.0)] + [(0.5, 2.0)] * 4


def test_complement_evidence_is_what_the_other_classes_say_and_leaves_the_own_share_out():
    counts = np.array([[3.0, 0.0, 1.0], [0.5, 0.5, 0.0]], "float32")
    layer = ngrams.ComplementEvidence(2, 3)
    layer.build((None, None))
    layer.set_counts(counts)

    def others(counts):
        return np.sum(counts, axis=-1, keepdims=True) - counts + 0.1

    total = others(counts).sum(0)

    def evidence(*counts):
        e = -np.log(others(np.array(counts)) / total)
        return e - e.mean()

    rows = np.array([[0, 1, 2]])
    expected = [[0, 0, 0], evidence(3, 0, 1), evidence(0.5, 0.5, 0)]
    np.testing.assert_allclose(to_numpy(layer(rows))[0], expected, atol=1e-6)
    own = np.array([[1]]), np.array([[0.5]], "float32")
    expected = [[0, 0, 0], evidence(2.5, 0, 1), evidence(0, 0.5, 0)]
    np.testing.assert_allclose(to_numpy(layer(rows, *own))[0], expected, atol=1e-6)


def test_log_repeats():
    rows = np.array([[[5, 1], [6, 2], [5, 1], [5, 3]], [[6, 2], [6, 4], [6, 1], [5, 1]]], "int32")
    expected = np.log([[[3, 2], [1, 1], [3, 2], [3, 1]], [[3, 1], [3, 1], [3, 2], [1, 2]]])
    for jit in (False, True):
        found = call(ngrams.LogRepeats(6), {"rows": rows}, jit=jit)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_log_repeats_of_a_book():
    """Each step beside each other would be 40 GB."""
    rows = np.arange(100_000, dtype="int32").reshape(1, -1, 1) % 50_000 + 1
    np.testing.assert_allclose(to_numpy(ngrams.LogRepeats(50_000)(rows)), np.log(2), rtol=1e-6)


def test_spreading_keeps_the_sum_and_goes_to_the_right_pieces():
    x = np.zeros((1, 5, 3, 1), "float32")
    x[0, 3, 2] = 3.0  # the trigram of steps 1, 2 and 3
    x[0, 1, 1] = 1.0  # the bigram of steps 0 and 1
    spread = to_numpy(ngrams.SpreadOverPieces()(x))[0, :, 0]
    np.testing.assert_allclose(spread, [0.5, 1.5, 1.0, 1.0, 0.0])


def test_scale_of_no_evidence_is_finite_and_exponents_mean_sum_and_average():
    score = np.log(np.array([[[2.0], [6.0]]], "float32"))
    layer = ngrams.EvidenceScale()
    known = np.array([[True, True]])
    layer(score, known)
    layer.exponent.assign(1.0)
    np.testing.assert_allclose(to_numpy(layer(score, known)), [[8.0]], rtol=1e-5)
    layer.exponent.assign(0.0)
    np.testing.assert_allclose(to_numpy(layer(score, known)), [[1.0]])
    layer.exponent.assign(0.5)
    assert np.isfinite(to_numpy(layer(score, ~known))).all()


def test_dropout_hides_its_rate_in_training_alone():
    rows = np.ones((100, 100), "int32")
    layer = ngrams.NGramDropout(0.3, seed=1)
    np.testing.assert_array_equal(to_numpy(layer(rows)), rows)
    assert abs(to_numpy(layer(rows, training=True)).mean() - 0.7) < 0.02
