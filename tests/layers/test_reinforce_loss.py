"""ReinforceLoss, and hard attention trained by it and by the straight-through gradient."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional import normalize
from keras_attention.functional.reinforce import reinforce_objective
from tests.backend import HAS_XLA, run


class Objective(keras.layers.Layer):
    """The objective as a function of what the probabilities are made from."""

    def __init__(self, baseline, reward_weight, entropy_weight):
        super().__init__()
        self.settings = baseline, reward_weight, entropy_weight

    def call(self, log_likelihood, choice, logits):
        probabilities = normalize.softmax(logits)
        return reinforce_objective(log_likelihood, choice, probabilities, *self.settings)


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("jit", [False, True])
def test_the_learning_rule_of_xu_2015(jit):
    """Section 4.1: d log p(y|s) + r (log p(y|s) - b) d log p(s) + e d H(s)."""
    rng = np.random.default_rng(0)
    log_p, logits = rng.normal(size=2) - 2, rng.normal(size=(2, 3, 5))
    drawn = rng.integers(0, 5, size=(2, 3))
    b, r, e = -1.8, 0.7, 0.3
    tensors = {"log_likelihood": log_p, "choice": np.eye(5)[drawn], "logits": logits}
    tensors = {name: x.astype("float32") for name, x in tensors.items()}
    value, _, gradients = run(Objective(b, r, e), tensors, jit=jit)

    alpha, expected = _softmax(logits), np.zeros((2, 3, 5))
    for k in range(2):
        for t in range(3):
            entropy = -(alpha[k, t] * np.log(alpha[k, t])).sum()
            for i in range(5):
                of_log_p_s = (i == drawn[k, t]) - alpha[k, t, i]
                of_entropy = -alpha[k, t, i] * (np.log(alpha[k, t, i]) + entropy)
                expected[k, t, i] = r * (log_p[k] - b) * of_log_p_s + e * of_entropy
    # The mean over the batch; `run` differentiates it times a number of its own.
    scale = 2 * gradients["log_likelihood"][0]
    np.testing.assert_allclose(gradients["log_likelihood"], [scale / 2] * 2, rtol=1e-5)
    np.testing.assert_allclose(gradients["logits"], scale * expected / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(gradients["choice"], 0)
    np.testing.assert_allclose(value, log_p.mean(), rtol=1e-5)


def test_one_step_of_training_moves_the_baseline_first():
    r, e, log_p, drawn = 0.7, 0.3, np.array([-1.0, -3.0]), [1, 3]
    one, given, choice = keras.Input((1,)), keras.Input(()), keras.Input((5,))
    dense = keras.layers.Dense(5, activation=normalize.softmax, use_bias=False)
    reinforce = ka.ReinforceLoss(r, e)
    model = keras.Model([one, given, choice], reinforce(given, choice, dense(one)))
    model.compile(keras.optimizers.SGD(1.0))
    before = dense.get_weights()[0][0].astype("float64")
    reinforce.baseline.assign(-0.5)
    loss = model.train_on_batch([np.ones((2, 1)), log_p, np.eye(5)[drawn]])
    assert float(loss) == pytest.approx(2.0)

    b = 0.9 * -0.5 + 0.1 * -2.0
    assert float(reinforce.baseline.value) == pytest.approx(b)
    alpha = _softmax(before)
    entropy = -(alpha * np.log(alpha)).sum()
    step = np.zeros(5)
    for k in range(2):
        of_log_p_s = np.eye(5)[drawn[k]] - alpha
        of_entropy = -alpha * (np.log(alpha) + entropy)
        step += (r * (log_p[k] - b) * of_log_p_s + e * of_entropy) / 2
    np.testing.assert_allclose(dense.get_weights()[0][0], before + step, rtol=1e-4, atol=1e-6)


def test_the_baseline_rests_outside_training():
    layer = ka.ReinforceLoss()
    layer(np.array([-2.0]), np.eye(3)[:1], np.full((1, 3), 1 / 3))
    assert float(layer.baseline.value) == 0.0
    layer(np.array([-2.0]), np.eye(3)[:1], np.full((1, 3), 1 / 3), training=True)
    assert float(layer.baseline.value) == pytest.approx(-0.2)


def test_rows_without_any_step_stay_finite():
    tensors = {
        "log_likelihood": np.array([-1.0, -2.0], "float32"),
        "choice": np.zeros((2, 3), "float32"),
        "logits": np.full((2, 3), -1e4, "float32") * np.array([0, 1, 2], "float32"),
    }
    value, _, gradients = run(Objective(0.0, 1.0, 0.1), tensors)
    assert float(value) == -1.5
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_mixed_precision_keeps_the_loss_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    layer = ka.ReinforceLoss()
    layer(np.array([-1e5], "float32"), np.eye(3, dtype="float32")[:1], np.ones((1, 3), "float32"))
    assert float(layer.losses[0]) == 1e5


def _data(seed, rows=512, steps=6):
    """Which step matters can be read from the keys alone, and what it says from its value."""
    rng = np.random.default_rng(seed)
    value = rng.choice([-1.0, 1.0], size=(rows, steps, 1)).astype("float32")
    key = rng.normal(0, 0.3, size=(rows, steps, 3)).astype("float32")
    right = rng.integers(0, steps, rows)
    key[np.arange(rows), right] += 1.0
    return value, key, (value[np.arange(rows), right, 0] > 0).astype("int32"), right


@pytest.mark.parametrize("training", ["reinforce", "straight-through"])
def test_hard_attention_learns_the_one_step_that_matters(training):
    value_in, key_in = keras.Input((None, 1)), keras.Input((None, 3))
    target = keras.Input((), dtype="int32")
    normalizer = "softmax" if training == "reinforce" else "hard"
    pooled, weights = ka.AttentionPooling(normalizer=normalizer)(
        value_in, key=key_in, return_attention_scores=True
    )
    choice = weights
    if training == "reinforce":
        pooled, choice = ka.HardSelection()(weights, value_in, return_attention_scores=True)
    # It starts without an opinion: it should learn what a value means before where to look.
    logits = keras.layers.Dense(2, kernel_initializer="zeros")(pooled)
    value, key, label, _ = _data(seed=0)
    fit = {"epochs": 12, "batch_size": 64, "verbose": 0}
    if training == "reinforce":
        log_p = -ops.sparse_categorical_crossentropy(target, logits, from_logits=True)
        outputs = ka.ReinforceLoss(entropy_weight=0.05)(log_p, choice, weights)
        model = keras.Model([value_in, key_in, target], outputs)
        model.compile(keras.optimizers.Adam(0.03), jit_compile=HAS_XLA)
        history = model.fit([value, key, label], **fit)
    else:
        model = keras.Model([value_in, key_in], logits)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.03), loss, jit_compile=HAS_XLA)
        history = model.fit([value, key], label, **fit)
    assert model.jit_compile is HAS_XLA
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]
    value, key, label, right = _data(seed=1)
    predictor = keras.Model([value_in, key_in], [choice, logits])
    chosen, predicted = predictor.predict([value, key], batch_size=512, verbose=0)
    assert (chosen.argmax(-1) == right).mean() > 0.95
    assert (predicted.argmax(-1) == label).mean() > 0.95


def test_saving(tmp_path):
    log_p, choice = keras.Input(()), keras.Input((3,))
    outputs = ka.ReinforceLoss(0.5, 0.1, 0.8)(log_p, choice, choice)
    model = keras.Model([log_p, choice], outputs)
    model.layers[-1].baseline.assign(-1.5)
    model.save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert layer.get_config() == model.layers[-1].get_config()
    assert float(layer.baseline.value) == -1.5
    arguments = set(inspect.signature(ka.ReinforceLoss.__init__).parameters) - {"self", "kwargs"}
    assert set(layer.get_config()) == arguments | {"name", "trainable", "dtype"}


def test_rejects_bad_weights():
    with pytest.raises(ValueError, match="`reward_weight` must be .* reward_weight=-1"):
        ka.ReinforceLoss(reward_weight=-1)
    with pytest.raises(ValueError, match="`momentum` must be .* momentum=1"):
        ka.ReinforceLoss(momentum=1)


def test_rejects_likelihoods_of_steps():
    with pytest.raises(ValueError, match=r"log_likelihood_shape=\(2, 3\)"):
        ka.ReinforceLoss()(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)))


def test_rejects_a_choice_of_another_rank():
    with pytest.raises(ValueError, match=r"choice_shape=\(2, 3, 5\), probabilities_shape=\(2, 5\)"):
        ka.ReinforceLoss()(np.ones(2), np.ones((2, 3, 5)), np.ones((2, 5)))
