"""The projection that compiled loops can differentiate."""

import keras
import numpy as np

from keras_attention.dense import Dense
from tests.backend import to_numpy


def test_gives_the_numbers_of_keras_dense():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")
    ours, theirs = Dense(6, activation="tanh"), keras.layers.Dense(6, activation="tanh")
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    for inputs in (x, x[:, :, 0], x[:, 0, 0], x[:0]):
        np.testing.assert_allclose(to_numpy(ours(inputs)), to_numpy(theirs(inputs)), atol=1e-6)


def test_unknown_lengths_stay_symbolic():
    assert Dense(6)(keras.Input((None, 5, 4))).shape == (None, None, 5, 6)


def test_quantizes():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    layer = Dense(6)
    before = to_numpy(layer(x))
    layer.quantize("int8")
    assert {keras.backend.standardize_dtype(w.dtype) for w in layer.weights} >= {"int8"}
    np.testing.assert_allclose(to_numpy(layer(x)), before, atol=0.05)
