"""ExportableRNN."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, run, to_numpy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 4)).astype("float32")
MASK = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], "bool")
CELLS = {
    "gru": lambda: keras.layers.GRUCell(6),
    "lstm": lambda: keras.layers.LSTMCell(6),
    "stacked": lambda: [keras.layers.GRUCell(6), keras.layers.LSTMCell(7)],
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "mask"])
def test_equals_keras_rnn(cell, go_backwards, mask):
    kwargs = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    theirs = keras.layers.RNN(CELLS[cell](), **kwargs)
    ours = ka.ExportableRNN(CELLS[cell](), **kwargs)
    theirs(X), ours(X)
    ours.set_weights(theirs.get_weights())
    for expected, got in zip(
        *(map(to_numpy, keras.tree.flatten(x(X, mask=mask))) for x in (theirs, ours)), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zero_output_for_mask", [False, True])
def test_takes_the_weights_of_keras_gru(zero_output_for_mask):
    kwargs = {"return_sequences": True, "zero_output_for_mask": zero_output_for_mask}
    theirs = keras.layers.GRU(6, use_cudnn=False, **kwargs)
    ours = ka.ExportableRNN(keras.layers.GRUCell(6), **kwargs)
    theirs(X), ours(X)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(X, mask=MASK), theirs(X, mask=MASK), rtol=1e-5, atol=1e-6)


def test_the_last_output_is_that_of_the_last_kept_step():
    layer = ka.ExportableRNN(keras.layers.GRUCell(6))
    got = to_numpy(layer(X, mask=MASK))
    for row, mask in zip((0, 1), MASK, strict=False):
        alone = to_numpy(layer(X[row : row + 1, mask]))
        np.testing.assert_allclose(got[row : row + 1], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[2], 0)


def test_read_backwards_a_text_starts_at_its_own_end():
    cell = keras.layers.GRUCell(6)
    layer = keras.layers.Bidirectional(ka.ExportableRNN(cell, return_sequences=True))
    short = to_numpy(layer(X[:, :3]))
    padded = np.pad(X[:, :3], ((0, 0), (1, 2), (0, 0)), constant_values=9.0)
    mask = np.array([[False, True, True, True, False, False]] * 3)
    got = to_numpy(layer(padded, mask=mask))
    np.testing.assert_allclose(got[:, 1:4], short, rtol=1e-5, atol=1e-6)


def test_gradients_equal_those_of_keras_under_xla():
    theirs = keras.layers.RNN(keras.layers.GRUCell(6))
    ours = ka.ExportableRNN(keras.layers.GRUCell(6))
    theirs(X), ours(X)
    ours.set_weights(theirs.get_weights())
    _, expected, _ = run(theirs, {"sequences": X, "mask": MASK})
    _, got, _ = run(ours, {"sequences": X, "mask": MASK}, jit=True)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_drops_what_its_cell_says():
    layer = ka.ExportableRNN(keras.layers.GRUCell(6, dropout=0.5, recurrent_dropout=0.5, seed=1))
    first, second = to_numpy(layer(X, training=True)), to_numpy(layer(X, training=True))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(layer(X), layer(X))


def test_saves_inside_a_bidirectional(tmp_path):
    cell = keras.layers.GRUCell(6)
    model = keras.Sequential(
        [keras.Input((None, 4)), keras.layers.Bidirectional(ka.ExportableRNN(cell))]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))


@needs_tensorflow
def test_exports_with_unknown_batch_and_length(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    x, mask = keras.Input((None, 4), name="x"), keras.Input((None,), dtype="bool", name="mask")
    outputs = ka.ExportableRNN(keras.layers.LSTMCell(6), go_backwards=True)(x, mask=mask)
    model = keras.Model([x, mask], outputs)
    ka.export_model(model, tmp_path, {"x": X, "mask": MASK}, formats="tflite", decision=None)
    runner = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner("serving_default")
    for rows, steps in ((1, 2), (4, 9)):
        x = RNG.normal(size=(rows, steps, 4)).astype("float32")
        mask = RNG.random((rows, steps)) > 0.3
        (got,) = runner(x=x, mask=mask).values()
        np.testing.assert_allclose(got, model([x, mask]), atol=1e-5)
