"""Saved models and samples, and the command run on them in this process."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention_command.main import main


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Holds `model.keras`, which finds a 7 by its attention, and `ids.npy`."""
    folder = tmp_path_factory.mktemp("command")
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(10, 4, mask_zero=True, name="embedding")(ids)
    mixed = ka.MultiHeadAttention(2, 3, name="mix")(x, x)
    x = keras.layers.Add(name="sum")([x, mixed])
    pooled = ka.AttentionPooling(score="dot", name="pool")(x)
    label = keras.layers.Dense(2, activation="softmax", name="label")(pooled)
    model = keras.Model(ids, label, name="finder")
    for layer in model.layers:
        layer.set_weights([np.zeros_like(x) for x in layer.get_weights()])
    table = np.zeros((10, 4), "float32")
    table[7, 3] = 4
    model.get_layer("embedding").set_weights([table])
    model.get_layer("pool").set_weights([np.array([[0, 0, 0, 1]], "float32")])
    model.get_layer("label").set_weights([np.array([[0, 0]] * 3 + [[-1, 1]]), np.array([1, -1])])
    model.save(folder / "model.keras")
    rng = np.random.default_rng(0)
    samples = rng.integers(1, 7, size=(40, 12))
    samples[np.arange(30), rng.integers(0, 9, size=30)] = 7
    samples[:, 9:] = 0
    np.save(folder / "ids.npy", samples)
    return folder


@pytest.fixture
def call(folder, capsys, monkeypatch):
    """Runs the command; returns its exit code and what it prints on both streams."""
    monkeypatch.chdir(folder)

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:  # argparse
            code = exit.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def refused(call):
    """Runs the command, which must end with exit code 2 and one line; returns that line."""

    def refused(*arguments):
        code, _, error = call(*arguments)
        assert code == 2 and error.startswith("Error: ") and error.count("\n") == 1, error
        return error

    return refused
