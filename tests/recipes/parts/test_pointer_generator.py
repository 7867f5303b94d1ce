"""The pointer-generator network: its mixture by hand, and the search against the model."""

import itertools

import keras
import numpy as np
import pytest

from recipes import summarization
from recipes.parts import pointer_generator as parts
from recipes.text.copyable import END, PAD, START, UNKNOWN
from tests.backend import needs_tensorflow, to_numpy

pytestmark = needs_tensorflow

KNOWN, SLOTS, LENGTH = 7, 6, 5
SIZE = KNOWN + SLOTS
SOURCE = np.array([[4, 8, 5, 10, 8, 0], [6, 6, 9, 0, 0, 0]], "int32")
LABELS = np.array([[8, 4, 10, END, 0], [9, UNKNOWN, 6, 5, END]], "int32")
TARGET = np.concatenate([[[START], [START]], LABELS[:, :-1]], axis=1).astype("int32")
GIVEN = {"source": SOURCE, "target": TARGET, "labels": LABELS}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_equation_9_of_see_2017():
    rng = np.random.default_rng(0)
    logits, gate = rng.normal(size=(2, 5, KNOWN)), rng.uniform(size=(2, 5, 1))
    weights = softmax(rng.normal(size=(2, 5, 6)) - 1e9 * (SOURCE == PAD)[:, None])
    inputs = [x.astype("float32") for x in (logits, gate, weights)]
    log_p, copied = to_numpy(
        parts.CopyLikelihood()(inputs[0], SOURCE, LABELS, gate=inputs[1], weights=inputs[2])
    )
    for b, t in np.ndindex(2, 5):
        extended = np.zeros(SIZE)
        extended[:KNOWN] = gate[b, t] * softmax(logits[b, t])
        for i, word in enumerate(SOURCE[b]):
            extended[word] += (1 - gate[b, t, 0]) * weights[b, t, i]
        assert extended.sum() == pytest.approx(1)
        word = LABELS[b, t]
        assert np.exp(log_p[b, t]) == pytest.approx(extended[word], rel=1e-4)
        share = (1 - gate[b, t]) * weights[b, t] * (SOURCE[b] == word) / extended[word]
        np.testing.assert_allclose(copied[b, t], share, rtol=1e-4, atol=1e-6)


def test_loss_and_perplexity_leave_out_padding_and_unknown_words():
    log_p = np.log(np.linspace(0.1, 0.9, 10)).reshape(2, 5).astype("float32")
    counts = (LABELS != PAD) & (LABELS != UNKNOWN)
    assert counts.sum() == 8
    expected = -log_p[counts].mean()
    assert to_numpy(parts.negative_log_likelihood(LABELS, log_p)) == pytest.approx(expected)
    metric = parts.LikelihoodPerplexity(name="perplexity")
    metric.update_state(LABELS[:1], log_p[:1])
    metric.update_state(LABELS[1:], log_p[1:])
    assert float(metric.result()) == pytest.approx(np.exp(expected), rel=1e-5)


CASES = {
    "coverage": ({}, {}),
    "no attention": ({}, {"attends": False}),
    "transformer": ({"architecture": "transformer"}, {}),
    "transformer, no attention": ({"architecture": "transformer"}, {"attends": False}),
}


@pytest.fixture(params=CASES, scope="module")
def models(request):
    settings, options = CASES[request.param]
    config = summarization.Config(
        units=8, layers=1, heads=2, feedforward=8, dropout=0.1, **settings
    )
    training, model = summarization.build_model(config, KNOWN, **options)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return training, model


def test_all_weights_are_trained(models):
    training, _ = models
    training.compile("sgd", parts.negative_log_likelihood, run_eagerly=True)
    before = [to_numpy(weight.value) for weight in training.trainable_weights]
    training.train_on_batch(GIVEN, LABELS)
    for old, weight in zip(before, training.trainable_weights, strict=True):
        # Where all states are their mean, it does not matter how they are weighed.
        if not {"energy", "query", "key", "score", "memory_attention_norm"} & {
            *weight.path.split("/")
        }:
            assert (old != to_numpy(weight.value)).any() or "bias" in weight.path, weight.path


def test_a_search_steps_through_the_model(models):
    """What it writes has the likelihood that the model gives it, and none is likelier greedily."""
    import tensorflow as tf

    _, model = models
    start, step = parts.decoding(model, SIZE, LENGTH)
    state, total = start(tf.constant(SOURCE), parts.encode(model, SOURCE)), np.zeros((2, 5))
    for t in range(5):
        log_p, state = step(tf.constant(TARGET[:, t]), state)
        log_p = np.array(log_p, "float64")
        # Neither padding, nor unknown words, nor the start are ever written.
        assert (np.exp(log_p[:, [PAD, UNKNOWN, START]]) < 1e-9).all()
        total[:, t] = log_p[np.arange(2), LABELS[:, t]]
    expected = np.array(model(GIVEN, training=False)["log_likelihood"])
    real = (LABELS != PAD) & (LABELS != UNKNOWN)
    copies = "gate" in [layer.name for layer in model.layers]
    real &= copies | (LABELS < KNOWN)
    np.testing.assert_allclose(total[real], expected[real], atol=1e-4)


def test_padding_changes_neither_likelihoods_nor_losses(models):
    training, model = models
    outputs = to_numpy(model(GIVEN, training=False))
    losses = to_numpy(training.losses)
    wider = {name: np.pad(x, [[0, 0], [0, 3]]) for name, x in GIVEN.items()}
    for name, x in to_numpy(model(wider, training=False)).items():
        expected = outputs[name]
        found = x[tuple(map(slice, expected.shape))]
        real = LABELS != PAD
        np.testing.assert_allclose(found[real], expected[real], atol=1e-5)
    np.testing.assert_allclose(to_numpy(training.losses), losses, atol=1e-5)


def test_the_search_blocks_and_stops(models):
    _, model = models
    options = {"size": SIZE, "max_length": 8, "beams": 2, "length_penalty": 1.0, "ngrams": 2}
    sources = keras.ops.convert_to_tensor(np.pad(SOURCE, [[0, 1], [0, 0]]))
    written = to_numpy(parts.search(model, sources, **options))
    assert not written[2].any()  # nothing to read, nothing to say
    for row in written[:2]:
        words = row[row != PAD].tolist()
        assert not any(row[len(words) :]) and not {UNKNOWN, START, END} & {*words}
        pairs = list(itertools.pairwise(words))
        assert len(set(pairs)) == len(pairs)


def test_copied_words_are_counted():
    """A model whose gate is shut copies all, one whose gate is open none."""
    config = summarization.Config(units=8, dropout=0.0)
    _, model = summarization.build_model(config, KNOWN)
    gate = model.get_layer("gate")
    sources, written = [SOURCE[0, :5], SOURCE[1, :3]], [LABELS[0, :1], LABELS[1, 2:3]]
    for bias, expected in ((-10.0, 100.0), (10.0, 50.0)):  # slot 8 can only be copied
        gate.kernel.assign(np.zeros(gate.kernel.shape))
        gate.bias.assign([bias])
        found = parts.shares_copied(model, sources, written, KNOWN)
        assert found == {"copied_words": expected, "copied_unknown_words": 50.0}


def test_custom_objects_are_saved(tmp_path):
    config = summarization.Config(units=8, dropout=0.1)
    _, model = summarization.build_model(config, KNOWN)
    traced = to_numpy(parts.trace(model, SOURCE, LABELS))
    model.save(tmp_path / "model.keras")  # which a trace must leave as it is
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    expected = to_numpy(model(GIVEN, training=False))
    for name, x in to_numpy(loaded(GIVEN, training=False)).items():
        np.testing.assert_array_equal(x, expected[name])
    copied = np.where((LABELS != PAD)[..., None], expected["copied"], 0.0)
    np.testing.assert_allclose(traced, copied, atol=1e-6)
