"""Whether maps can be believed: models of which the truth is known."""

import json

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND
from tests.explain.texts import looks_for_the_planted, planted


def _shuffled(weights, mask, seed=0):
    """The weights of each text in another order among its steps."""
    rng, weights = np.random.default_rng(seed), weights.copy()
    for row, steps in zip(weights, mask, strict=True):
        row[steps] = rng.permutation(row[steps])
    return weights


def test_a_trained_model_and_its_own_weights():
    keras.utils.set_random_seed(0)
    ids, labels, places = planted(400)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(12, 4, mask_zero=True)(inputs)
    x = ka.AttentionPooling(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", jit_compile=BACKEND == "jax")
    model.fit(ids, labels, batch_size=100, epochs=20, verbose=0)
    tested = ids[:60]
    weights = ka.attention_maps(model, tested)["pool"]
    predict = model.predict_on_batch
    report = ka.explanation_report(predict, tested, weights, unit="word")
    assert np.mean((report.probabilities[:, 1] > 0.5) == labels[:60]) > 0.9
    assert report.verdict == "yes", report.sentence
    assert np.mean(weights.argmax(1) == places[:60]) > 0.5
    wrong = ka.explanation_report(predict, tested, _shuffled(weights, tested > 0), unit="word")
    assert wrong.verdict == "no", wrong.sentence
    assert report.difference[0] > 2 * report.difference[1]


def test_a_model_that_carries_the_word_to_where_it_attends():
    """A known-false map: the recurrent layer brings the word to the first and last steps."""
    keras.utils.set_random_seed(0)
    ids, labels, places = planted(400, steps=8, late=True)
    without = np.where(ids < 3, 3, ids)[:100]  # of which the model shall say one half
    without[ids[:100] == 0] = 0
    inputs = keras.Input((8,), dtype="int32")
    x = keras.layers.Embedding(12, 8, mask_zero=True)(inputs)
    x = keras.layers.Bidirectional(keras.layers.GRU(8, return_sequences=True))(x)
    at = np.exp(-4.0 * np.arange(8))  # softmax of a score of the position
    at = (at / at.sum()).astype("float32")
    x = keras.ops.sum(x * at[:, None], axis=1)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", jit_compile=BACKEND == "jax")
    texts, targets = np.concatenate([ids, without]), np.r_[labels, np.full(100, 0.5)]
    model.fit(texts, targets, batch_size=100, epochs=12, verbose=0)
    tested = ids[:60]
    report = ka.explanation_report(
        model.predict_on_batch, tested, np.tile(at, (60, 1)), unit="word"
    )
    assert np.mean((report.probabilities[:, 1] > 0.5) == labels[:60]) > 0.9
    found = np.where(report.mask, report.attributions["leave-one-out"], -1).argmax(1)
    assert np.mean(found == places[:60]) > 0.9
    assert report.verdict == "no", report.sentence
    assert report.figures["leave-one-out"]["aopc"] > report.figures["random"]["aopc"] + 0.1


def test_a_model_that_always_says_the_same():
    ids, _, _ = planted(30)
    report = ka.explanation_report(lambda ids: np.full(len(ids), 0.8), ids, ids == 1)
    assert report.verdict == "unclear"
    assert report.difference == pytest.approx((0, 0))


@pytest.mark.parametrize(("rows", "verdict"), [(1, "unclear"), (9, "unclear"), (10, "yes")])
def test_few_examples(rows, verdict):
    ids, _, _ = planted(rows)
    report = ka.explanation_report(looks_for_the_planted, ids, ids < 3)
    assert report.verdict == verdict, report.sentence
    json.dumps(report.to_dict(), allow_nan=False)  # no error is known of one example
    assert "<table" in report.to_html()


@pytest.mark.parametrize(
    ("right", "verdict"), [(1.0, "yes"), (0.8, "yes"), (0.35, "partly"), (0.0, "no")]
)
def test_weights_that_are_right_for_some_of_the_texts(right, verdict):
    ids, _, places = planted(200)
    rng = np.random.default_rng(1)
    weights = rng.random(ids.shape)
    if right == 0:
        weights[np.arange(200), places] = 0.3  # a little less than at random
    rows = np.arange(200)[: int(200 * right)]
    weights[rows, places[rows]] = 2
    report = ka.explanation_report(looks_for_the_planted, ids, weights)
    assert report.verdict == verdict, report.sentence
    assert report.best_rival == "leave-one-out"


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_bright_cell_of_an_image(dtype):
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 12, 24)
    cells = np.stack([cells // 4, cells % 4], axis=1)
    images = rng.random((24, 12, 16, 1)) * 0.3
    for image, (row, column) in zip(images, cells, strict=True):
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    scale = 255 if dtype == "uint8" else 1
    images = (images * scale).astype(dtype)
    right = np.zeros((24, 3, 4))
    right[np.arange(24), cells[:, 0], cells[:, 1]] = 1

    def predict(images):  # by the brightest row
        return 1 / (1 + np.exp(5 - 10 * (images / scale).max((1, 2, 3))))

    report = ka.explanation_report(predict, images, right, unit="cell")
    assert report.verdict == "yes", report.sentence
    wrong = np.roll(right, 1, axis=2)
    assert ka.explanation_report(predict, images, wrong).verdict == "no"


def _says_what_is_first(ids):
    return np.where(ids[:, 0] > 7, 0.95, 0.05)


@pytest.mark.parametrize("place", [None, 6])
def test_equal_weights_do_not_find_what_stands_first(place):
    """A map that is flat but for the wrong step, of a model that looks at the first step."""
    ids = np.random.default_rng(0).integers(3, 12, (100, 10))
    weights = np.zeros(ids.shape)
    if place is not None:
        weights[:, place] = 1
    report = ka.explanation_report(_says_what_is_first, ids, weights)
    assert report.verdict == "no", report.sentence
    assert report.figures["uniform"]["aopc"] > report.figures["random"]["aopc"] + 0.1


def test_a_fall_that_changes_no_answer():
    ids, _, _ = planted(30)
    report = ka.explanation_report(lambda ids: 0.9 + 0.004 * (ids < 3).sum(1), ids, ids < 3)
    assert report.verdict == "unclear", report.sentence
    report = ka.explanation_report(lambda ids: 0.9 - 0.004 * (ids < 3).sum(1), ids, ids < 3)
    assert report.verdict == "unclear", report.sentence


def test_too_few_examples_to_tell_no_from_yes():
    ids, _, places = planted(12, seed=3)
    weights = np.random.default_rng(0).random(ids.shape)
    weights[np.arange(12), places] = [2, -1] * 6  # right for a half, and wrong for the other
    report = ka.explanation_report(looks_for_the_planted, ids, weights)
    mean, error = report.difference
    assert mean - 1.96 * error < 0
    half = report.figures["leave-one-out"]["aopc"] - report.figures["random"]["aopc"]
    assert mean + 1.96 * error > half / 2
    assert report.verdict == "unclear", report.sentence
    assert "few examples" in report.sentence


def test_two_words_of_which_each_is_enough():
    """Leave-one-out sees neither; the map that names both is above random weights all the same."""
    ids = np.random.default_rng(0).permuted(np.tile(np.r_[1, 1, 3:11], (40, 1)), axis=1)
    report = ka.explanation_report(lambda ids: np.where((ids == 1).any(1), 0.9, 0.2), ids, ids == 1)
    assert not report.attributions["leave-one-out"].any()
    assert report.verdict == "yes", report.sentence
