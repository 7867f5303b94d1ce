"""SequenceCrossentropy."""

import contextlib

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, HAS_XLA, call, run, to_numpy

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


class LossLayer(keras.layers.Layer):
    """The loss as a layer, so that it can be compiled and differentiated like one."""

    def __init__(self, **kwargs):
        super().__init__()
        self.loss = ka.SequenceCrossentropy(from_logits=True, **kwargs)

    def call(self, logits, labels, weights=None):
        return self.loss(labels, logits, weights)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int64", "uint32", "uint64"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_labels_of_any_integer_dtype(dtype, from_logits):
    if dtype == "uint64" and BACKEND == "torch":
        pytest.skip("Keras on PyTorch has no uint64")
    loss = ka.SequenceCrossentropy(0.1, ignore_class=0, from_logits=from_logits)
    predictions = LOGITS if from_logits else np.exp(_log_p(LOGITS))
    expected = float(loss(LABELS.astype("int32"), predictions))
    assert float(loss(LABELS.astype(dtype), predictions)) == expected
    assert float(loss(LABELS.astype("float32"), predictions)) == expected


@pytest.mark.parametrize("jit", [False, True])
def test_an_ignored_class_that_the_labels_cannot_hold_ignores_nothing(jit):
    logits = np.random.default_rng(1).normal(size=(1, 2, 300)).astype("float32")
    labels = np.array([[255, 7]], "uint8")  # 255 is what -1 would be as uint8
    expected = -_log_p(logits)[0, [0, 1], [255, 7]].mean()
    got = call(LossLayer(ignore_class=-1), {"logits": logits, "labels": labels}, jit)
    assert float(got) == pytest.approx(expected, rel=1e-5)
    got = call(LossLayer(ignore_class=255), {"logits": logits, "labels": labels}, jit)
    assert float(got) == pytest.approx(-_log_p(logits)[0, 1, 7], rel=1e-5)


WRONG = [
    np.array([[1, -1, 2], [3, 0, 0]]),
    np.array([[1, 5, 2], [3, 0, 0]]),
    np.array([[1, 255, 2], [3, 0, 0]], "uint8"),
    np.array([[1, -1, 2], [3, 0, 0]], "int8"),
    np.array([[1, 2**32 - 1, 2], [3, 0, 0]], "uint32"),
    np.array([[1, 1.5, 2], [3, 0, 0]], "float32"),
    np.array([[1, np.nan, 2], [3, 0, 0]], "float32"),
    np.array([[1, 2.0**40, 2], [3, 0, 0]], "float32"),
]


@pytest.mark.parametrize("labels", WRONG, ids=lambda x: f"{x[0, 1]} of {x.dtype}")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_outside_the_classes_never_counts_as_one(labels, smoothing):
    loss = LossLayer(label_smoothing=smoothing, ignore_class=0)
    message = rf"Labels must lie in \[0, V\) .*labels \[{labels[0, 1]}\], V=5, ignore_class=0"
    with pytest.raises(ValueError, match=message):
        loss(LOGITS, labels)
    if HAS_XLA:
        assert np.isnan(call(loss, {"logits": LOGITS, "labels": labels}, jit=True))
    if HAS_XLA and labels.dtype == "int64":
        _, _, gradients = run(loss, {"logits": LOGITS, "labels": labels}, jit=True)
        assert np.isnan(gradients["logits"][0, 1]).all()
    # What does not count may have any label.
    weights = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], "float32")
    expected = float(loss(LOGITS, np.where(labels == labels[0, 1], 0, LABELS), weights))
    for jit in (False, True):
        tensors = {"logits": LOGITS, "labels": labels, "weights": weights}
        assert float(call(loss, tensors, jit)) == pytest.approx(expected, rel=1e-6)


def test_a_label_outside_is_nan_in_a_traced_function_too():
    if BACKEND != "tensorflow":
        pytest.skip("JAX has eager and compiled code only")
    import tensorflow as tf

    loss = ka.SequenceCrossentropy(from_logits=True)
    assert np.isnan(tf.function(loss)(tf.constant(WRONG[0]), tf.constant(LOGITS)))


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_label_outside_shows_in_fit(run_eagerly):
    run_eagerly = run_eagerly or not HAS_XLA
    model = keras.Sequential([keras.layers.Dense(3)])
    metrics = [ka.TokenAccuracy(), ka.Perplexity(from_logits=True)]
    loss = ka.SequenceCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=metrics, run_eagerly=run_eagerly)
    x, y = np.eye(3, dtype="float32"), np.array([0, -1, 2])
    if run_eagerly:
        with pytest.raises(ValueError, match=r"Labels must lie in .*labels \[-1\], V=3"):
            model.fit(x, y, verbose=0)
        return
    history = model.fit(x, y, verbose=0).history
    assert set(history) == {"loss", "token_accuracy", "perplexity"}
    assert np.isnan(list(history.values())).all()


@pytest.mark.parametrize("jit", [False, True])
def test_an_empty_batch_is_a_loss_of_zero(jit):
    for shape in ((0,), (0, 3), (2, 0)):
        tensors = {"logits": np.zeros((*shape, 5), "float32"), "labels": np.zeros(shape, int)}
        loss = call(LossLayer(label_smoothing=0.1), tensors, jit)
        assert loss.shape == () and loss == 0


def test_one_token_alone_is_its_own_mean():
    loss = ka.SequenceCrossentropy(from_logits=True)
    assert float(loss(1, LOGITS[0, 0], 3.0)) == pytest.approx(-_log_p(LOGITS)[0, 0, 1], rel=1e-5)


def enabled_float64():
    """A context in which JAX, too, has float64."""
    if BACKEND == "torch":
        pytest.skip("on PyTorch Keras has no float64 in products and losses")
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


@pytest.fixture
def float64():
    """Keras' `floatx` as float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # Keras sets it by `floatx` at its first use alone
    with enabled_float64():
        yield
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("jit_compile", [True, False])
def test_float64_trains(float64, jit_compile):
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    labels = np.array([[2, 1, 3, 3], [0, 1, 2, 3]])
    model = keras.Sequential(
        [
            keras.layers.Embedding(4, 6, mask_zero=True),
            keras.layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.25)),
        ]
    )
    metrics = [ka.TokenAccuracy(), ka.Perplexity(from_logits=True)]
    loss = ka.SequenceCrossentropy(0.1, ignore_class=4, from_logits=True)
    model.compile("sgd", loss, metrics=metrics, jit_compile=jit_compile)
    log_p, counted = _log_p(to_numpy(model(ids))), ids != 0
    assert log_p.dtype == "float64"
    of_label = np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    expected = -(0.9 * of_label + 0.1 * log_p.mean(-1))[counted].mean()
    assert loss(labels, model(ids)).dtype == "float64"
    expected += 0.25 * np.square(to_numpy(model.layers[1].kernel)).sum()
    got = model.evaluate(ids, labels, return_dict=True, verbose=0)
    assert got["loss"] == pytest.approx(expected, rel=1e-13)
    assert got["perplexity"] == pytest.approx(np.exp(-of_label[counted].mean()), rel=1e-13)
    weights = np.ones(2)
    losses = model.fit(ids, labels, sample_weight=weights, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0] == pytest.approx(expected, rel=1e-13)


def test_dtype_of_the_loss_alone():
    with enabled_float64():
        _check_dtype_of_the_loss_alone()


def _check_dtype_of_the_loss_alone():
    loss = ka.SequenceCrossentropy(from_logits=True, dtype="float64")
    expected = -np.take_along_axis(_log_p(LOGITS.astype("float64")), LABELS[..., None], -1)
    got = loss(LABELS, LOGITS.astype("float64"))
    assert got.dtype == "float64"
    assert float(got) == pytest.approx(expected.mean(), rel=1e-14)
    model = keras.Sequential([keras.layers.Dense(5, kernel_regularizer="l2")])
    model.compile("sgd", loss, metrics=[ka.Perplexity(from_logits=True, dtype="float64")])
    losses = model.fit(LOGITS, LABELS, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert model.layers[0].kernel.dtype == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_no_dtype_of_a_loss(dtype):
    labels = np.array([[2999, 2049]])  # neither is a float16 nor a bfloat16
    logits = np.random.default_rng(0).normal(size=(1, 2, 3000)).astype("float32")
    expected = ka.SequenceCrossentropy(from_logits=True)(labels, logits)
    got = ka.SequenceCrossentropy(from_logits=True, dtype=dtype)(labels, logits)
    assert float(got) == float(expected)
    keras.config.set_floatx(dtype)
    try:
        assert float(ka.SequenceCrossentropy(from_logits=True)(labels, logits)) == float(expected)
    finally:
        keras.config.set_floatx("float32")


def test_config():
    loss = ka.SequenceCrossentropy(0.1, ignore_class=0, from_logits=True, name="tokens")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert loss.get_config() == {
        "name": "tokens",
        "label_smoothing": 0.1,
        "ignore_class": 0,
        "from_logits": True,
        "dtype": None,
    }
    assert float(again(LABELS, LOGITS)) == float(loss(LABELS, LOGITS))
    loss = ka.SequenceCrossentropy(ignore_class=np.int64(-100), dtype="float64")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.dtype == "float64" and again.ignore_class == -100


@pytest.mark.parametrize("value", [0.0, True, "0", 2**31])
def test_rejects_bad_ignore_class(value):
    for cls in (ka.SequenceCrossentropy, ka.TokenAccuracy, ka.Perplexity):
        with pytest.raises(ValueError, match=f"`ignore_class` must be .* ignore_class={value!r}"):
            cls(ignore_class=value)


def test_rejects_bad_label_smoothing():
    with pytest.raises(ValueError, match="`label_smoothing` must be.* label_smoothing=1"):
        ka.SequenceCrossentropy(1)


def test_rejects_predictions_of_another_length():
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 2\), y_pred.shape=\(2, 3, 5\)"):
        ka.SequenceCrossentropy()(LABELS[:, 1:], LOGITS)


def test_rejects_predictions_without_classes():
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 3\), y_pred.shape=\(2, 5\)"):
        ka.SequenceCrossentropy()(LABELS, LOGITS[:, 0])
