"""TokenAccuracy and Perplexity."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, HAS_XLA, call


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


class MetricLayer(keras.layers.Layer):
    """A metric's figure for one batch as a layer, so that it can be compiled like one."""

    def __init__(self, metric):
        super().__init__()
        self.metric = metric

    def call(self, labels, predictions, weights=None):
        start = [keras.ops.zeros((), v.dtype) for v in self.metric.variables]
        updated = self.metric.stateless_update_state(start, labels, predictions, weights)
        return self.metric.stateless_result(updated)


@pytest.mark.parametrize("cls", [ka.TokenAccuracy, ka.Perplexity])
@pytest.mark.parametrize("wrong, dtype", [(-1, "int64"), (5, "int8"), (255, "uint8")])
def test_a_label_outside_the_classes_never_counts_as_one(cls, wrong, dtype):
    labels = np.array([[4, wrong, 2]], dtype)
    predictions = np.tile([0.1, 0.1, 0.1, 0.1, 0.6], (1, 3, 1)).astype("float32")
    metric = cls(ignore_class=3)
    message = rf"Labels must lie in \[0, V\) .*labels \[{wrong}\], V=5, ignore_class=3"
    with pytest.raises(ValueError, match=message):
        metric.update_state(labels, predictions)
    assert [float(v) for v in metric.variables] == [0, 0]  # as if it had not been called
    layer = MetricLayer(metric)
    tensors = {"labels": labels, "predictions": predictions}
    if HAS_XLA:
        assert np.isnan(call(layer, tensors, jit=True))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tensors = {name: tf.constant(x) for name, x in tensors.items()}
        assert np.isnan(tf.function(lambda tensors: layer(**tensors))(tensors))
    # What does not count may have any label.
    tensors = {"labels": labels, "predictions": predictions, "weights": np.array([[1.0, 0, 1]])}
    expected = 0.5 if cls is ka.TokenAccuracy else np.exp(-np.mean(np.log([0.6, 0.1])))
    for jit in (False, True):
        assert float(call(layer, tensors, jit)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cls", [ka.TokenAccuracy, ka.Perplexity])
def test_an_ignored_class_that_the_labels_cannot_hold_ignores_nothing(cls):
    labels = np.array([255, 7], "uint8")
    predictions = np.random.default_rng(0).dirichlet(np.ones(300), 2).astype("float32")
    expected, metric = cls(), cls(ignore_class=-1)
    expected.update_state(labels.astype("int32"), predictions)
    metric.update_state(labels, predictions)
    assert float(metric.result()) == float(expected.result())
    assert float(metric.count) == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sums_are_float32_at_least(dtype):
    if dtype == "float64" and BACKEND == "jax":
        pytest.skip("JAX has float64 only where it is enabled")
    metric = ka.TokenAccuracy(dtype=dtype)
    for _ in range(3):  # 3000 is no bfloat16 and 2999 no float16
        metric.update_state(np.zeros(1000, int), np.ones((1000, 1)))
    metric.update_state([0], [[0.0, 1.0]])
    assert float(metric.result()) == pytest.approx(3000 / 3001, rel=1e-6)
    assert metric.dtype == ("float64" if dtype == "float64" else "float32")
    assert {v.dtype for v in metric.variables} == {metric.dtype}


@pytest.mark.parametrize("cls", [ka.TokenAccuracy, ka.Perplexity])
def test_an_empty_batch_changes_nothing(cls):
    metric = cls()
    metric.update_state([1, 0], [[0.4, 0.6], [0.3, 0.7]])
    before = float(metric.result())
    metric.update_state(np.zeros((0,), int), np.zeros((0, 2)))
    metric.update_state(np.zeros((2, 0), int), np.zeros((2, 0, 2)))
    assert float(metric.result()) == before


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
