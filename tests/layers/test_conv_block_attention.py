"""ConvBlockAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import HAS_XLA, to_numpy
from tests.contract import Case, LayerContract

X = np.random.default_rng(0).normal(size=(2, 6, 5, 4)).astype("float32")


class TestContract(LayerContract):
    cases = {
        "default": Case(
            lambda **kw: ka.ConvBlockAttention(2, 3, **kw),
            tensors={"inputs": "BYXE"},
            weights={"channel": "BE", "spatial": "BYX"},
            masks={"mask": "inputs"},
            is_gate=True,
        )
    }


def test_equation_1_of_woo_2018():
    block = ka.ConvBlockAttention(2, 3)
    output, weights = to_numpy(block(X, return_attention_scores=True))
    w_0, w_1, kernel = block.get_weights()
    channel, spatial = ka.ChannelAttention(2), ka.SpatialAttention(3)
    channel.build(X.shape)
    spatial.build(X.shape)
    channel.set_weights([w_0, w_1])
    spatial.set_weights([kernel])
    _, m_c = to_numpy(channel(X, return_attention_scores=True))
    f_1 = m_c[:, None, None, :] * X
    _, m_s = to_numpy(spatial(f_1, return_attention_scores=True))
    f_2 = m_s[..., None] * f_1
    np.testing.assert_allclose(output, f_2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights["channel"], m_c, rtol=1e-6)
    np.testing.assert_allclose(weights["spatial"], m_s, rtol=1e-5)


def test_attention_maps_shows_what_and_where():
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, ka.ConvBlockAttention(2, 3, name="cbam")(inputs))
    maps = ka.attention_maps(model, X)
    assert {name: weights.shape for name, weights in maps.items()} == {
        "cbam/channel": (2, 4),
        "cbam/spatial": (2, 6, 5),
    }


def test_it_learns_where_to_look():
    """The class is the colour of the one bright square; weights end up higher there."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, size=(256, 8, 8, 2)).astype("float32")
    y, where = rng.integers(0, 2, 256), rng.integers(1, 7, size=(256, 2))
    for image, label, (row, column) in zip(x, y, where, strict=True):
        image[row - 1 : row + 2, column - 1 : column + 2, label] += 2.0
    inputs = keras.Input((None, None, 2))
    attended = ka.ConvBlockAttention(1, 3, name="cbam")(inputs)
    # Starts without an opinion: a wrong one would first teach the block to look away.
    classifier = keras.layers.Dense(2, kernel_initializer="zeros")
    outputs = classifier(keras.layers.GlobalAveragePooling2D()(attended))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss, metrics=["accuracy"], jit_compile=HAS_XLA)
    model.fit(x, y, epochs=20, batch_size=64, verbose=0)
    assert model.evaluate(x, y, batch_size=64, verbose=0)[1] > 0.95
    maps = ka.attention_maps(model, x)["cbam/spatial"]
    at_square = maps[np.arange(256), where[:, 0], where[:, 1]]
    assert at_square.mean() > maps.mean() + 0.1


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_it_trains_under_xla_after_a_normalization(activation):
    """XLA computes a normalized feature map twice, rounded in two ways; see `functional/pool.py`.

    Behind relu many maxima are zeros that tie.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(16, 12, 11, 3)).astype("float32")
    y = rng.normal(size=(16, 1)).astype("float32")
    histories = []
    for settings in ({"jit_compile": True}, {"jit_compile": False, "run_eagerly": True}):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.layers.Conv2D(8, 3, padding="same"),
                keras.layers.BatchNormalization(),
                keras.layers.Activation(activation),
                ka.ConvBlockAttention(2, 3),
                keras.layers.Conv2D(4, 3),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse", **settings)
        histories.append(model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-4)


def test_rejects_bad_kernel_size():
    with pytest.raises(ValueError, match="`kernel_size` must be.* kernel_size=2.5"):
        ka.ConvBlockAttention(kernel_size=2.5)
