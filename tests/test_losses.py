"""SequenceCrossentropy."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import run, to_numpy

LABELS = np.array([[1, 4, 2], [3, 0, 0]])
LOGITS = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")


def _log_p(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("from_logits", [True, False])
def test_section_7_of_szegedy_2016(from_logits):
    log_p, epsilon = _log_p(LOGITS.astype("float64")), 0.1
    losses = []
    for b in range(2):
        for t in range(3):
            q = np.full(5, epsilon / 5)
            q[LABELS[b, t]] += 1 - epsilon
            losses.append(-(q * log_p[b, t]).sum())
    predictions = LOGITS if from_logits else np.exp(log_p).astype("float32")
    loss = ka.SequenceCrossentropy(label_smoothing=epsilon, from_logits=from_logits)
    np.testing.assert_allclose(to_numpy(loss(LABELS, predictions)), np.mean(losses), rtol=1e-5)


def test_without_smoothing_it_is_keras_own():
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    ours = ka.SequenceCrossentropy(from_logits=True, ignore_class=0)
    np.testing.assert_allclose(ours(LABELS, LOGITS), theirs(LABELS, LOGITS), rtol=1e-5)


def test_smoothing_is_keras_own_for_one_hot_labels():
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    ours = ka.SequenceCrossentropy(0.2, from_logits=True)
    expected = theirs(keras.ops.one_hot(LABELS, 5), LOGITS)
    np.testing.assert_allclose(ours(LABELS, LOGITS), expected, rtol=1e-5)


@pytest.mark.parametrize("padding", [0, -100])
def test_a_mean_over_the_tokens_that_count(padding):
    labels = np.where(LABELS == 0, padding, LABELS)
    logits = LOGITS.copy()
    logits[labels == padding] = np.nan
    counted = -np.take_along_axis(_log_p(LOGITS), LABELS[..., None], -1)[..., 0][LABELS != 0]
    loss = ka.SequenceCrossentropy(ignore_class=padding, from_logits=True)
    np.testing.assert_allclose(loss(labels, logits), counted.mean(), rtol=1e-5)
    weight = np.array([[1.0, 2.0, 0.5], [3.0, 1.0, 1.0]])
    expected = (counted * weight[LABELS != 0]).sum() / weight[LABELS != 0].sum()
    np.testing.assert_allclose(loss(labels, logits, weight), expected, rtol=1e-5)
    rows = np.array([2.0, 0.5])  # one weight a sequence
    expected = (counted * [2, 2, 2, 0.5]).sum() / 6.5
    np.testing.assert_allclose(loss(labels, logits, rows), expected, rtol=1e-5)


def test_gradients_pass_by_what_does_not_count():
    class Losses(keras.layers.Layer):
        def call(self, logits):
            return ka.SequenceCrossentropy(0.1, ignore_class=0, from_logits=True)(LABELS, logits)

    dirty = LOGITS.copy()
    dirty[LABELS == 0] = np.nan
    clean, of_dirty = (
        run(Losses(), {"logits": x}, jit=False)[2]["logits"] for x in (LOGITS, dirty)
    )
    np.testing.assert_allclose(of_dirty, clean, rtol=1e-6)
    np.testing.assert_array_equal(clean[LABELS == 0], 0)
    assert np.abs(clean[LABELS != 0]).min() > 0
    np.testing.assert_allclose(
        run(Losses(), {"logits": dirty}, jit=True)[2]["logits"], clean, rtol=1e-5, atol=1e-7
    )


def test_nothing_that_counts_is_a_loss_of_zero():
    loss = ka.SequenceCrossentropy(ignore_class=0, from_logits=True)
    assert float(loss(np.zeros((2, 3), int), LOGITS)) == 0.0


def test_float16_logits_of_any_size_stay_exact():
    logits = np.array([[6e4, 6e4 - 32, -6e4]], "float16")
    loss = ka.SequenceCrossentropy(from_logits=True)
    assert float(loss([1], logits)) == 32.0
    assert float(loss([2], logits)) == pytest.approx(12e4, rel=1e-3)
    assert np.isfinite(float(ka.SequenceCrossentropy(0.1, from_logits=True)([0], logits)))


def test_probabilities_of_zero_stay_finite():
    assert np.isfinite(float(ka.SequenceCrossentropy()([1], np.array([[1.0, 0.0]]))))


@pytest.mark.parametrize("jit_compile", [True, False])
def test_the_mask_of_the_predictions_counts_in_training(jit_compile):
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    labels = np.array([[2, 1, 3, 3], [0, 1, 2, 3]])
    model = keras.Sequential([keras.layers.Embedding(4, 6, mask_zero=True), keras.layers.Dense(5)])
    loss = ka.SequenceCrossentropy(0.1, from_logits=True)
    metrics = [ka.TokenAccuracy(), ka.Perplexity(from_logits=True)]
    model.compile("sgd", loss, metrics=metrics, jit_compile=jit_compile)
    logits = to_numpy(model(ids))
    log_p = _log_p(logits)
    counted = ids != 0
    of_label = np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    expected = -(0.9 * of_label + 0.1 * log_p.mean(-1))[counted].mean()
    right = (logits.argmax(-1) == labels)[counted].mean()
    got = model.evaluate(ids, labels, return_dict=True, verbose=0)
    assert got["loss"] == pytest.approx(expected, rel=1e-5)
    assert got["token_accuracy"] == pytest.approx(right)
    assert got["perplexity"] == pytest.approx(np.exp(-of_label[counted].mean()), rel=1e-5)
    losses = model.fit(ids, labels, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0] == pytest.approx(expected, rel=1e-5)


def test_labels_of_a_classifier():
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", ka.SequenceCrossentropy(0.1), metrics=[ka.TokenAccuracy()])
    x, y = np.eye(3, dtype="float32"), np.array([0, 1, 2])
    model.fit(x, y, epochs=1, verbose=0)
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0)[0],
        ka.SequenceCrossentropy(0.1)(y, model(x)),
        rtol=1e-5,
    )


def test_config():
    loss = ka.SequenceCrossentropy(0.1, ignore_class=0, from_logits=True, name="tokens")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(LABELS, LOGITS)) == float(loss(LABELS, LOGITS))


def test_rejects_bad_label_smoothing():
    with pytest.raises(ValueError, match="`label_smoothing` must be.* label_smoothing=1"):
        ka.SequenceCrossentropy(1)


def test_rejects_predictions_of_another_length():
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 2\), y_pred.shape=\(2, 3, 5\)"):
        ka.SequenceCrossentropy()(LABELS[:, 1:], LOGITS)


def test_rejects_predictions_without_classes():
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 3\), y_pred.shape=\(2, 5\)"):
        ka.SequenceCrossentropy()(LABELS, LOGITS[:, 0])
