"""with_uniform_attention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.layer import layers_below
from tests.backend import to_numpy

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")


def _is_uniform(weights):
    count = (weights > 0).sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, (weights > 0) / np.maximum(count, 1), atol=1e-6)
    assert (count > 1).any()


def _inner():
    inputs = keras.Input((5, 4))
    return keras.Model(inputs, ka.AttentionPooling(name="inner")(inputs), name="nested")


def _deep():
    """Attention in a block, wrapped, in a model, in a decoder and as it is."""
    inputs = keras.Input((5, 4))
    x = ka.TransformerEncoderBlock(6, num_heads=2, dropout=0.1, name="made")(inputs)
    given = ka.MultiHeadAttention(2, 3, normalizer="sparsemax", name="heads")
    x = ka.TransformerEncoderBlock(6, attention=given, norm_first=True, name="given")(x)
    x = ka.TransformerDecoderBlock(6, num_heads=2, name="both")(x, x)
    attention = ka.ContentAttention("additive", "hard", name="content")
    x = ka.AttentionDecoder(keras.layers.GRUCell(4), attention, name="decoder")(x, x)
    each = keras.layers.TimeDistributed(ka.AttentionPooling(name="each"), name="wrapped")
    y = each(keras.ops.stack([x, 2 * x], axis=1))
    y = keras.layers.Concatenate()([_inner()(x), ka.AttentionPooling(name="pool")(y)])
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(y))


def test_all_weights_are_equal_in_every_place(tmp_path):
    model = _deep()
    before = {layer.name: layer.get_config() for layer in model.layers}
    clone = ka.with_uniform_attention(model)
    assert {layer.name: layer.get_config() for layer in model.layers} == before
    assert not any("get_config" in vars(layer) for _, layer in layers_below(model))
    assert [layer.name for layer in clone.layers[1:]] == [layer.name for layer in model.layers[1:]]
    shapes = [[w.shape for w in m.weights] for m in (model, clone)]
    assert sorted(map(str, shapes[0])) == sorted(map(str, shapes[1]))
    maps = ka.attention_maps(model, X)
    clone.save(tmp_path / "model.keras")
    for same in (clone, keras.saving.load_model(tmp_path / "model.keras")):
        equal = ka.attention_maps(same, X)
        assert {k: w.shape for k, w in equal.items()} == {k: w.shape for k, w in maps.items()}
        for weights in equal.values():
            _is_uniform(weights)
    kernels = [m.layers[-1].kernel for m in (model, clone)]
    assert not np.allclose(*to_numpy(kernels))  # new weights


def test_masked_steps_keep_no_weight_and_it_trains():
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(9, 4, mask_zero=True),
            ka.AttentionPooling(name="pool"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    clone = ka.with_uniform_attention(model)
    ids = np.array([[3, 1, 4, 0], [2, 0, 0, 0]])
    np.testing.assert_allclose(
        ka.attention_maps(clone, ids)["pool"], [[1 / 3, 1 / 3, 1 / 3, 0], [1, 0, 0, 0]], rtol=1e-6
    )
    before = to_numpy(clone.get_layer("pool").query)
    clone.compile("sgd", "sparse_categorical_crossentropy")
    clone.fit(ids, np.array([0, 1]), verbose=0)
    np.testing.assert_array_equal(to_numpy(clone.get_layer("pool").query), before)


@keras.saving.register_keras_serializable(package="tests.uniform")
class _FromConfig(keras.Model):
    def __init__(self, pool=None, **kwargs):
        super().__init__(**kwargs)
        self.pool = pool
        self.dense = keras.layers.Dense(2, activation="softmax")

    def call(self, inputs):
        return self.dense(self.pool(inputs))

    def get_config(self):
        return {**super().get_config(), "pool": keras.saving.serialize_keras_object(self.pool)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "pool": keras.saving.deserialize_keras_object(config["pool"])})


@keras.saving.register_keras_serializable(package="tests.uniform")
class _MakesItself(_FromConfig):
    def __init__(self, **kwargs):
        super().__init__(ka.AttentionPooling(name="pool"), **kwargs)

    def get_config(self):
        return {"name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_a_class_whose_config_holds_its_layers():
    model = _FromConfig(ka.AttentionPooling(name="pool"))
    model(X)
    _is_uniform(ka.attention_maps(ka.with_uniform_attention(model), X)["pool"])
    model = _MakesItself()
    model(X)
    with pytest.raises(ValueError, match="whose class makes 'pool' itself"):
        ka.with_uniform_attention(model)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: keras.layers.MultiHeadAttention(2, 3), "use `ka.MultiHeadAttention` instead"),
        (lambda: keras.layers.GroupQueryAttention(3, 4, 2), "num_key_value_heads"),
        (lambda: ka.MonotonicAttention(4), "`MonotonicAttention`"),
    ],
)
def test_rejects_layers_whose_weights_cannot_be_made_equal(layer, message):
    inputs = keras.Input((5, 4))
    x = ka.AttentionPooling()(layer()(inputs, inputs))
    with pytest.raises(ValueError, match=message):
        ka.with_uniform_attention(keras.Model(inputs, x))


def test_rejects_a_model_without_attention():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
    with pytest.raises(ValueError, match="must have an attention layer.*'head'"):
        ka.with_uniform_attention(model)
