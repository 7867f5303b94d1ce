"""A report on what a Keras model says of itself."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.explain.of_model import OfModel


def _model(*, heads=0):
    ids = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 8, mask_zero=True, name="words")(ids)
    if heads:
        x = ka.MultiHeadAttention(heads, 4, name="heads")(x, x)
    x = ka.AttentionPooling(name="pool")(x)
    label = keras.layers.Dense(2, activation="softmax", name="label")(x)
    return keras.Model(ids, {"label": label})


def test_a_model_is_asked_for_all_that_it_knows():
    ids = np.random.default_rng(0).integers(1, 20, (12, 6))
    model = _model(heads=2)
    report = ka.explanation_report(model, ids, "pool", output="label", batch_size=5)
    weights = ka.attention_maps(model, ids)["pool"]
    gradients = ka.gradient_times_input(model, ids, output="label")
    moved = ka.permutation_test(model, ids, layer="pool", output="label")
    np.testing.assert_allclose(report.attributions["attention"], weights, atol=1e-5)
    np.testing.assert_allclose(report.attributions["gradient x input"], gradients, atol=1e-5)
    assert {"leave-one-out", "integrated gradients"} <= set(report.figures)
    assert report.permutation["distance"] == pytest.approx(moved["distance"].mean(), abs=1e-5)
    assert f"{report.permutation['distance']:.3f}" in report.to_html()
    assert "permutation" in report.to_dict()


def test_heads_and_queries_are_averaged():
    ids = np.random.default_rng(0).integers(1, 20, (12, 6))
    model = _model(heads=2)
    report = ka.explanation_report(model, ids, "heads", output="label")
    weights = ka.attention_maps(model, ids)["heads"]  # (B, H, T, S)
    np.testing.assert_allclose(
        report.attributions["attention"], weights.mean(axis=(1, 2)), atol=1e-5
    )


def test_own_weights_of_a_model_are_beside_its_gradients():
    ids = np.random.default_rng(0).integers(1, 20, (12, 6))
    report = ka.explanation_report(_model(), ids, np.ones((12, 6)), output="label")
    assert "gradient x input" in report.figures and report.permutation is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weights": "pooling"}, r"`weights` must be an array or name one .*'pooling'.*'pool'"),
        ({"weights": None}, r"`weights` must be an array or name one .*None.*'heads', 'pool'"),
        ({"output": None}, r"`output` must be one of 'label'"),
        ({"embedding": "pieces"}, r"'pieces', of \['words'\]|'pieces'"),
    ],
)
def test_rejects_of_models(kwargs, message):
    ids = np.ones((12, 6), int)
    kwargs = {"weights": "pool", "output": "label", **kwargs}
    with pytest.raises(ValueError, match=message):
        ka.explanation_report(_model(heads=2), ids, **kwargs)


def test_what_goes_wrong_in_the_model_itself_is_told():
    """A layer of Keras has no weights to shuffle, which is no error; one of the model is one."""
    ids = np.random.default_rng(0).integers(1, 20, (12, 6))
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 8)(inputs)
    x = keras.layers.MultiHeadAttention(2, 4, name="theirs")(x, x)
    x = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, x)
    report = ka.explanation_report(model, ids, np.ones((12, 6)))
    assert report.permutation is None
    of_model = OfModel(model, ids, None, 4)
    assert of_model.permutation("theirs", seed=0) is None
    own = OfModel(_model(), ids, "label", 4)
    own._model.get_layer("words").call = _fail
    with pytest.raises(ValueError, match="the model's own"):
        own.permutation("pool", seed=0)


def _fail(*args):
    raise ValueError("the model's own")
