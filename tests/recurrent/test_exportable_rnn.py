"""ExportableRNN."""

import itertools
from concurrent import futures

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import ExportableRNN as RNN
from tests.backend import BACKEND, call, needs_tensorflow, run, to_numpy, twice

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 4)).astype("float32")
MASK = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], "bool")
CELLS = {
    "gru": lambda: keras.layers.GRUCell(6),
    "lstm": lambda: keras.layers.LSTMCell(6),
    "simple": lambda: keras.layers.SimpleRNNCell(6),
    "stacked": lambda: [keras.layers.GRUCell(6), keras.layers.LSTMCell(7)],
}


MASKS = {
    "no mask": None,
    "padding at the end": np.arange(5) < np.array([[5], [2], [1]]),
    "padding at the beginning": np.arange(5) >= np.array([[0], [2], [4]]),
    "padding in between": np.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1], [1, 1, 0, 1, 1]], "bool"),
    "an empty row": MASK,
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("stateful", [False, True])
def test_equals_keras_rnn_in_every_combination(cell, stateful):
    names = "return_sequences", "go_backwards", "zero_output_for_mask"
    for values in itertools.product((False, True), repeat=3):
        settings = dict(zip(names, values, strict=True)) | {"stateful": stateful}
        settings["return_state"] = sum(values) % 2 == 0  # with each pair of the others
        theirs, ours = (make(CELLS[cell](), **settings) for make in (keras.layers.RNN, RNN))
        theirs(X), ours(X)
        ours.set_weights(theirs.get_weights())
        for n, mask in enumerate(MASKS.values()):
            # A stateful layer goes on from the mask before; of a row that starts masked Keras gives
            # zeros on TensorFlow, as we do, and the first state on JAX.
            for layer in (theirs, ours) if stateful and (n == 0 or BACKEND == "jax") else ():
                keras.tree.map_structure(lambda state: state.assign(0.0 * state), layer.states)
            if BACKEND == "jax" and cell == "stacked" and mask is not None:
                continue  # Keras takes the first cell's state for the last output
            got, expected = ours(X, mask=mask), theirs(X, mask=mask)
            for a, b in zip(*map(keras.tree.flatten, (got, expected)), strict=True):
                np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_equals_keras_gru_and_lstm(go_backwards, return_sequences):
    settings = {"go_backwards": go_backwards, "return_sequences": return_sequences}
    settings |= {"return_state": True}
    for cell, make in (("gru", keras.layers.GRU), ("lstm", keras.layers.LSTM)):
        theirs, ours = make(6, use_cudnn=False, **settings), RNN(CELLS[cell](), **settings)
        theirs(X), ours(X)
        ours.set_weights(theirs.get_weights())
        for mask in MASKS.values():
            for a, b in zip(ours(X, mask=mask), theirs(X, mask=mask), strict=True):
                np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_gradient_has_a_gradient_as_that_of_keras_gru(jit, training):
    """As a penalty on the gradient needs."""
    theirs, ours = keras.layers.GRU(6, return_sequences=True, use_cudnn=False), Trained()
    theirs(X), ours(X)
    ours.training = training
    ours.set_weights(theirs.get_weights())
    expected, got = twice(theirs, {"sequences": X}, jit), twice(ours, {"sequences": X}, jit)
    for a, b in zip(*map(keras.tree.flatten, (got, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


class Trained(keras.layers.Layer):
    training = False

    def __init__(self):
        super().__init__()
        self.rnn = RNN(keras.layers.GRUCell(6), return_sequences=True)

    def call(self, sequences):
        return self.rnn(sequences, training=self.training)


def test_threads_train_and_predict_at_once():
    def make():
        cells = [keras.layers.GRUCell(6, dropout=0.5, seed=1), keras.layers.LSTMCell(7)]
        layer = RNN(cells, return_sequences=True)
        layer(X)
        return layer

    layer, other = make(), make()
    other.set_weights(layer.get_weights())
    before = [{k: id(x) for k, x in vars(c).items()} for c in (layer, *layer.cell.cells)]
    expected = to_numpy(other(X))
    trained = [to_numpy(other(X, training=True)) for _ in range(4)]
    with futures.ThreadPoolExecutor(2) as threads:
        trains = threads.submit(lambda: [to_numpy(layer(X, training=True)) for _ in range(4)])
        predicts = threads.submit(lambda: [to_numpy(layer(X)) for _ in range(8)])
        np.testing.assert_array_equal(trains.result(), trained)
        np.testing.assert_array_equal(predicts.result(), [expected] * 8)
    after = [{k: id(x) for k, x in vars(c).items()} for c in (layer, *layer.cell.cells)]
    assert after == before


@pytest.mark.parametrize("how", ["eager", "graph", "XLA"])
def test_axes_of_length_0(how):
    layer = RNN(keras.layers.GRUCell(6), return_sequences=True, return_state=True)
    layer(X)
    for few in (X[:0], X[:, :0]):
        tensors = {"sequences": few}
        if how == "eager":
            outputs, state = to_numpy(layer(few))
        else:
            outputs, state = call(layer, tensors, jit=how == "XLA", use_graph=True)
        assert outputs.shape == (*few.shape[:2], 6) and state.shape == (few.shape[0], 6)
        np.testing.assert_array_equal(state, 0)


def test_integers_are_cast_at_the_door():
    layer = RNN(keras.layers.GRUCell(6))
    x = (10 * np.abs(X)).astype("uint8")
    expected = to_numpy(layer(x.astype("float32")))
    for dtype in ("uint8", "int32", "int64"):
        np.testing.assert_array_equal(layer(x.astype(dtype)), expected)


def test_rejects_a_mask_of_floats():
    with pytest.raises(ValueError, match=r"`mask` must be boolean.*mask.dtype=float32"):
        RNN(keras.layers.GRUCell(6))(X, mask=np.zeros((3, 5), "float32"))


def test_rejects_other_rows_than_the_states_of_a_stateful_layer():
    layer = RNN(keras.layers.GRUCell(6), stateful=True)
    layer(X)
    with pytest.raises(ValueError, match=r"as many rows.*shape=\(2, 5, 4\), states of 3 rows"):
        layer(X[:2])


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
