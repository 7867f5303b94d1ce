"""attention_maps."""

import functools
import threading

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, to_numpy

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")


def test_functional_model_gives_what_the_layer_returns():
    inputs = keras.Input((None, 4))
    attention = ka.MultiHeadAttention(2, 3, name="heads")
    pooling = ka.AttentionPooling(name="pool")
    model = keras.Model(inputs, pooling(attention(inputs, inputs)))
    before = to_numpy(model(X))
    maps = ka.attention_maps(model, X)
    assert list(maps) == ["heads", "pool"]
    output, weights = attention(X, X, return_attention_scores=True)
    np.testing.assert_allclose(maps["heads"], weights, rtol=1e-6)
    np.testing.assert_allclose(maps["pool"], pooling(output, return_attention_scores=True)[1])
    np.testing.assert_array_equal(model(X), before)
    assert "call" not in vars(attention)


def test_implicit_masks_arrive():
    model = keras.Sequential(
        [keras.layers.Embedding(9, 4, mask_zero=True), ka.AttentionPooling(name="pool")]
    )
    maps = ka.attention_maps(model, np.array([[1, 2, 0, 0]]))
    np.testing.assert_array_equal(maps["pool"][0, 2:], 0)


def test_nested_models_with_equal_names_go_by_their_path():
    def encoder(name):
        inputs = keras.Input((None, 4))
        return keras.Model(inputs, ka.SelfAttention(name="attention")(inputs), name=name)

    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, encoder("upper")(encoder("lower")(inputs)))
    maps = ka.attention_maps(model, X)
    assert list(maps) == ["lower/attention", "upper/attention"]
    assert [weights.shape for weights in maps.values()] == [(2, 5, 5)] * 2


def test_subclassed_model_that_calls_a_layer_twice():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [ka.SelfAttention(name="attention")]

        def call(self, inputs):
            return self.blocks[0](self.blocks[0](inputs))

    maps = ka.attention_maps(Twice(), X)
    assert list(maps) == ["attention", "attention:1"]
    assert not np.allclose(*maps.values())


def test_time_distributed_stacks_its_steps():
    inner_inputs = keras.Input((5, 4))
    inner = keras.Model(inner_inputs, ka.AttentionPooling(name="words")(inner_inputs))
    inputs = keras.Input((3, 5, 4))
    sentences = keras.layers.TimeDistributed(inner)(inputs)
    model = keras.Model(inputs, ka.AttentionPooling(name="sentences")(sentences))
    documents = np.random.default_rng(1).normal(size=(2, 3, 5, 4)).astype("float32")
    maps = ka.attention_maps(model, documents)
    assert {k: v.shape for k, v in maps.items()} == {"words": (2, 3, 5), "sentences": (2, 3)}
    for step in range(3):
        expected = ka.attention_maps(inner, documents[:, step])["words"]
        np.testing.assert_allclose(maps["words"][:, step], expected, rtol=1e-6)


def test_a_bare_layer_inside_time_distributed():
    inputs = keras.Input((3, 5, 4))
    outputs = keras.layers.TimeDistributed(ka.AttentionPooling(name="pool"))(inputs)
    maps = ka.attention_maps(keras.Model(inputs, outputs), np.ones((2, 3, 5, 4)))
    np.testing.assert_allclose(maps["pool"], np.full((2, 3, 5), 0.2), rtol=1e-6)


def test_weights_in_a_structure_come_apart():
    class Both(keras.layers.Layer):
        def call(self, inputs, return_attention_scores=False):
            weights = keras.ops.sum(inputs, axis=-1)
            weights = {"once": weights, "more": [2 * weights, 3 * weights]}
            return (inputs, weights) if return_attention_scores else inputs

        def compute_output_shape(self, input_shape):
            return input_shape

    inputs = keras.Input((5, 4))
    both = Both(name="both")
    maps = ka.attention_maps(keras.Model(inputs, both(both(inputs))), X)
    places = {"both/once": 1, "both/more/0": 2, "both/more/1": 3}
    assert set(maps) == {name + call for name in places for call in ("", ":1")}
    for name, factor in places.items():
        np.testing.assert_allclose(maps[name], factor * X.sum(-1), rtol=1e-5)
    documents = keras.Input((3, 5, 4))
    stacked = keras.Model(documents, keras.layers.TimeDistributed(Both(name="both"))(documents))
    maps = ka.attention_maps(stacked, np.ones((2, 3, 5, 4)))
    assert {name: weights.shape for name, weights in maps.items()} == dict.fromkeys(
        places, (2, 3, 5)
    )


def test_a_block_speaks_for_the_layers_inside():
    x, memory = keras.Input((None, 4)), keras.Input((None, 6))
    y = ka.TransformerEncoderBlock(5, num_heads=2, name="first")(x)
    y = ka.TransformerDecoderBlock(5, num_heads=2, name="second")(y, memory)
    maps = ka.attention_maps(keras.Model([x, memory], y), [np.ones((2, 3, 4)), np.ones((2, 5, 6))])
    assert {name: weights.shape for name, weights in maps.items()} == {
        "first": (2, 2, 3, 3),
        "second/inputs": (2, 2, 3, 3),
        "second/memory": (2, 2, 3, 5),
    }


@pytest.mark.parametrize("kind", ["content", "heads", "location_sensitive"])
def test_a_decoder_speaks_for_the_attention_in_its_loop(kind):
    attention = {
        "content": lambda: ka.ContentAttention("bilinear"),
        "heads": lambda: ka.MultiHeadAttention(2, 3),
        "location_sensitive": lambda: ka.LocationSensitiveAttention(filters=2, kernel_size=3),
    }[kind]()
    inputs, memory = keras.Input((None, 4)), keras.Input((None, 6))
    decoder = ka.AttentionDecoder(keras.layers.GRUCell(7), attention, name="decoder")
    outputs, state = decoder(inputs, memory, return_state=True)
    arrays = [np.ones((2, 3, 4)), np.random.default_rng(0).normal(size=(2, 5, 6))]
    maps = ka.attention_maps(keras.Model([inputs, memory], [outputs, state]), arrays)
    assert list(maps) == ["decoder"]
    _, expected = decoder(*arrays, return_attention_scores=True)
    np.testing.assert_allclose(maps["decoder"], to_numpy(expected), rtol=1e-5, atol=1e-6)


def test_keras_own_layers_count():
    inputs = keras.Input((None, 4))
    x = keras.layers.MultiHeadAttention(2, 3, name="heads")(inputs, inputs)
    model = keras.Model(inputs, keras.layers.Attention(name="dot")([x, x]))
    shapes = {name: w.shape for name, w in ka.attention_maps(model, X).items()}
    assert shapes == {"heads": (2, 2, 5, 5), "dot": (2, 5, 5)}


def test_a_failing_model_is_left_as_it_was():
    layer = ka.AttentionPooling(name="pool")
    model = keras.Sequential([keras.Input((5, 4)), layer])
    with pytest.raises(ValueError):
        ka.attention_maps(model, np.ones((2, 5, 3)))
    assert model(X).shape == (2, 4)
    assert "call" not in vars(layer)


def test_rejects_a_model_without_attention():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")], name="plain")
    with pytest.raises(ValueError, match="no attention layer.*'plain' with layers .*'head'"):
        ka.attention_maps(model, X)


@needs_tensorflow
def test_rejects_compiled_code():
    import tensorflow as tf

    class Compiled(keras.Model):
        def __init__(self):
            super().__init__()
            self.pool = ka.AttentionPooling(name="pool")

        @tf.function
        def call(self, inputs):
            return self.pool(inputs)

    with pytest.raises(ValueError, match="weights of 'pool' can't be read"):
        ka.attention_maps(Compiled(), X)


def test_threads_see_only_their_own_weights():
    inputs = keras.Input((None, 4))
    x = ka.SelfAttention(name="attention")(inputs)
    model = keras.Model(inputs, ka.AttentionPooling(name="pool")(x))
    batches = [np.full((1, 3 + n, 4), n, "float32") + X[:1, :1] for n in range(6)]
    expected = [ka.attention_maps(model, batch) for batch in batches]
    outputs = [to_numpy(model(batch)) for batch in batches]
    errors = []

    def read(n):
        try:
            for _ in range(5):
                maps = ka.attention_maps(model, batches[n])
                assert list(maps) == ["attention", "pool"]
                for name, weights in maps.items():
                    np.testing.assert_allclose(weights, expected[n][name], rtol=1e-6)
        except Exception as error:
            errors.append(error)

    def use(n):
        try:
            for _ in range(20):
                np.testing.assert_allclose(model(batches[n]), outputs[n], rtol=1e-6)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=f, args=(n,)) for f in (read, use) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all("call" not in vars(layer) for layer in model.layers)


def test_a_call_of_the_layers_own_is_put_back():
    layer = ka.AttentionPooling(name="pool")
    model = keras.Sequential([keras.Input((5, 4)), layer])
    original = layer.call

    @functools.wraps(original)
    def call(*args, **kwargs):
        return original(*args, **kwargs)

    object.__setattr__(layer, "call", call)
    assert ka.attention_maps(model, X)["pool"].shape == (2, 5)
    assert layer.call is call
