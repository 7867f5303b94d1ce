"""TokenAccuracy and Perplexity."""

import keras
import numpy as np
import pytest

import keras_attention as ka


def _batches():
    """Two batches of different lengths, with padding."""
    rng = np.random.default_rng(0)
    for rows, steps in ((2, 3), (3, 7)):
        labels = rng.integers(1, 5, size=(rows, steps))
        labels[0, 1:] = 0
        yield labels, rng.normal(size=(rows, steps, 5)).astype("float32")


def _tokens():
    labels, logits = zip(*((y[y != 0], z[y != 0]) for y, z in _batches()), strict=True)
    return np.concatenate(labels), np.concatenate(logits).astype("float64")


def test_perplexity_is_over_all_tokens_of_all_batches():
    labels, logits = _tokens()
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.exp(-np.mean([row[y] for row, y in zip(log_p, labels, strict=True)]))
    metric = ka.Perplexity(ignore_class=0, from_logits=True)
    for y, z in _batches():
        metric.update_state(y, z)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    probable = ka.Perplexity(ignore_class=0)
    for y, z in _batches():
        probable.update_state(y, np.exp(z) / np.exp(z).sum(-1, keepdims=True))
    assert float(probable.result()) == pytest.approx(expected, rel=1e-5)


def test_accuracy_is_over_all_tokens_of_all_batches():
    labels, logits = _tokens()
    metric = ka.TokenAccuracy(ignore_class=0)
    for y, z in _batches():
        metric.update_state(y, z)
    assert float(metric.result()) == pytest.approx((logits.argmax(-1) == labels).mean())


@pytest.mark.parametrize("cls", [ka.TokenAccuracy, ka.Perplexity])
def test_padding_is_invisible_and_weights_count(cls):
    (y, z), _ = _batches()
    expected, metric = cls(), cls(ignore_class=0)
    expected.update_state(y, np.abs(z), sample_weight=(y != 0).astype("float32"))
    dirty = np.where((y != 0)[..., None], np.abs(z), np.nan)
    metric.update_state(y, dirty)
    assert float(metric.result()) == pytest.approx(float(expected.result()))
    metric.reset_state()
    metric.update_state(np.zeros((2, 3), int), z)
    assert float(metric.result()) == (1.0 if cls is ka.Perplexity else 0.0)


def test_a_uniform_guess_among_8_words_and_a_perfect_one():
    metric = ka.Perplexity(from_logits=True)
    metric.update_state([3, 4], np.zeros((2, 8)))
    assert float(metric.result()) == pytest.approx(8.0)
    metric.reset_state()
    metric.update_state([3, 4], 100 * np.eye(8)[[3, 4]])
    assert float(metric.result()) == pytest.approx(1.0)


def test_config():
    for metric in (
        ka.TokenAccuracy(ignore_class=0, name="words"),
        ka.Perplexity(ignore_class=0, from_logits=True),
    ):
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()


def test_rejects_predictions_without_classes():
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 3\), y_pred.shape=\(2, 5\)"):
        ka.Perplexity().update_state(np.ones((2, 3)), np.ones((2, 5)))
