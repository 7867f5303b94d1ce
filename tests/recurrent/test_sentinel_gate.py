"""SentinelGate."""

import keras
import numpy as np

import keras_attention as ka
from tests.backend import to_numpy


def _inputs():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, 3, size)).astype("float32") for size in (4, 5, 6)]


def test_equations_9_and_10_of_lu_2017():
    x, h, m = _inputs()
    gate = ka.SentinelGate()
    s = to_numpy(gate(x, h, m))
    w_x, w_h = gate.get_weights()
    for n in range(2):
        for t in range(3):
            g = 1 / (1 + np.exp(-(x[n, t] @ w_x + h[n, t] @ w_h)))  # eq. 9
            np.testing.assert_allclose(s[n, t], g * np.tanh(m[n, t]), rtol=1e-4, atol=1e-6)


def test_save_and_load_give_the_same_bits(tmp_path):
    tensors = _inputs()
    inputs = [keras.Input((None, x.shape[-1])) for x in tensors]
    outputs = ka.SentinelGate()(*inputs)
    assert outputs.shape == (None, None, 6)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(tensors), model(tensors))


def test_integers_are_cast_at_the_door():
    gate, tensors = ka.SentinelGate(), [np.abs(5 * x).astype("uint8") for x in _inputs()]
    expected = to_numpy(gate(*(x.astype("float32") for x in tensors)))
    assert np.abs(expected).max() > 0.5
    np.testing.assert_array_equal(gate(*tensors), expected)
