"""What TFLite's converter takes for a bias."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.export import ExportError, export_model, fixed_sizes
from tests.backend import needs_tensorflow
from tests.export.models import run_tflite


def sum_of(left, right):
    """A model that adds two inputs of fixed shapes, `a` and `b`, with samples."""
    a, b = keras.Input(batch_shape=left, name="a"), keras.Input(batch_shape=right, name="b")
    rng = np.random.default_rng(0)
    samples = {
        name: rng.normal(size=shape).astype("float32")
        for name, shape in (("a", left), ("b", right))
    }
    return keras.Model([a, b], {"sum": keras.layers.Dense(3)(a + b)}), samples


SUMS = [
    ((1, 5, 1), (1, 5, 1)),
    ((1, 5, 3), (1, 5, 1)),  # along axis 1, which TensorFlow calls channels first
    ((1, 5, 3, 2), (1, 5, 1, 1)),
    ((1, 5, 3), (1, 1, 3)),  # a bias indeed
]


@needs_tensorflow
@pytest.mark.parametrize("left, right", SUMS)
def test_sums_of_fixed_sizes(tmp_path, left, right):
    model, samples = sum_of(left, right)
    export_model(model, tmp_path, samples, formats=["saved_model", "tflite"])
    kernel, bias = map(ops.convert_to_numpy, model.layers[-1].weights)
    expected = (samples["a"] + samples["b"]) @ kernel + bias
    got = run_tflite(tmp_path / "model.tflite", **samples)["sum"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@needs_tensorflow
def test_sums_that_keras_takes_for_a_bias_do_not_convert_as_they_are(tmp_path, monkeypatch):
    """Why they are rewritten; if this fails, Keras or the converter has learned to do it."""
    monkeypatch.setattr(fixed_sizes, "rewrite", lambda folder: None)
    for left, right in SUMS[:2]:
        model, samples = sum_of(left, right)
        with pytest.raises(ExportError, match="no builtin operator for operator `Transpose`"):
            export_model(model, tmp_path / "out", samples, formats=["tflite"])


def additive_scores():
    """Steps, compared with a constant query as by additive attention, in a model of fixed sizes."""
    x = keras.Input(batch_shape=(1, 3, 2, 4), name="x")
    key = keras.layers.Dense(6, use_bias=False, name="key")(keras.layers.Reshape((3, 8))(x))
    query = ops.convert_to_tensor(np.linspace(-1, 1, 6, dtype="float32").reshape(1, 1, 1, 6))
    hidden = ops.tanh(ops.add(query, ops.expand_dims(key, 1)))
    return keras.Model(x, {"scores": keras.layers.Dense(1, use_bias=False, name="score")(hidden)})


@needs_tensorflow
def test_new_axes_of_fixed_sizes(tmp_path):
    model = additive_scores()
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 4)).astype("float32")
    export_model(model, tmp_path, x, formats=["saved_model", "tflite"])
    key, score = (ops.convert_to_numpy(model.get_layer(name).kernel) for name in ("key", "score"))
    expected = np.tanh(np.linspace(-1, 1, 6) + x.reshape(1, 1, 3, 8) @ key) @ score
    got = run_tflite(tmp_path / "model.tflite", x=x)["scores"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@needs_tensorflow
def test_new_axes_do_not_convert_as_they_are(tmp_path, monkeypatch):
    """Why they are rewritten; if this fails, the converter has learned to do it."""
    monkeypatch.setattr(fixed_sizes, "rewrite", lambda folder: None)
    with pytest.raises(ExportError, match="the converter failed around the layers .*`key`"):
        x = np.zeros((1, 3, 2, 4))
        export_model(additive_scores(), tmp_path / "out", x, formats=["tflite"])


@needs_tensorflow
@pytest.mark.parametrize("score", ["additive", "concat"])
def test_additive_attention_of_fixed_sizes(tmp_path, score):
    x = keras.Input(batch_shape=(1, 3, 2, 4), name="x")
    steps = keras.layers.Reshape((3, 8))(x)
    model = keras.Model(x, {"context": ka.AttentionPooling(score=score)(steps)})
    export_model(model, tmp_path, np.ones((2, 3, 2, 4)), formats=["tflite"])
