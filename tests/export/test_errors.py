"""Errors that name what cannot be converted, and its cure."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.export import ExportError, Signature, export_model
from tests.backend import needs_tensorflow
from tests.export.models import numbers, run_tflite, small_model


@needs_tensorflow
@pytest.mark.parametrize(
    "function, operator, text",
    [
        (ops.erf, "Erf", False),
        (ops.erf, "Erf", True),
        (lambda x: ops.erfinv(x / 100.0), "Erfinv", False),
        (lambda x: ops.roll(x, 1, axis=1), "Roll", True),
        (
            lambda x: ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float32") + x,
            "BitwiseAnd",
            False,
        ),
        (lambda x: ops.map(ops.sin, x), "TensorListReserve", False),
        (lambda x: ops.map(ops.sin, x), "TensorListReserve", True),
    ],
)
def test_names_operator_and_layer_that_tflite_lacks(tmp_path, function, operator, text):
    model = small_model(function, name="odd_1")
    signature = Signature(
        "numbers",
        lambda model, x: model(x),
        {"x": ((None, None, 4), "float32")},
        numbers(),
        text=text,
    )
    with pytest.raises(ExportError, match=f"`{operator}` in layer `odd_1`.*`formats`"):
        export_model(model, tmp_path / "out", signatures=[signature], formats=["tflite"])
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_names_layer_in_nested_model(tmp_path):
    x = keras.Input((None, 4))
    model = keras.Model(x, keras.layers.Dense(2)(small_model(ops.erf, name="odd")(x)))
    with pytest.raises(ExportError, match=r"`Erf` in layer `functional\w*/odd`"):
        export_model(model, tmp_path / "out", numbers(), formats=["tflite_int8"])


@needs_tensorflow
def test_quantized_layers_are_named_with_their_path(tmp_path):
    x = keras.Input((5, 8), name="x")
    block = ka.TransformerEncoderBlock(16, 2, name="block")
    model = keras.Model(x, keras.Sequential([block], name="inner")(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for each layer without integers, in Keras' words
        model.quantize("int8")
    with pytest.raises(ExportError, match="Layer `inner/block/.*` is quantized"):
        export_model(model, tmp_path / "out", np.ones((2, 5, 8)))
    assert not list(tmp_path.iterdir())


@needs_tensorflow
@pytest.mark.parametrize("is_called", [False, True])
def test_a_sequential_model_is_exported_called_before_or_not(tmp_path, is_called):
    layers = [keras.Input((None, 4), name="x"), keras.layers.Dense(3, name="last")]
    model = keras.Sequential(layers)
    if is_called:
        model(numbers())
    report = export_model(model, tmp_path, numbers(), formats=["saved_model"])
    assert report["forms"]["saved_model"]["signatures"]["serving_default"]["agreement"] == 1


@needs_tensorflow
@pytest.mark.parametrize("name", ["model", "function", "signature", "name", "args", "training"])
def test_inputs_may_have_any_name(tmp_path, name):
    x = keras.Input((None, 4), name=name)
    model = keras.Model(x, keras.layers.Dense(3, name="last")(x))
    export_model(model, tmp_path, numbers(), formats=["saved_model", "tflite"])
    got = run_tflite(tmp_path / "model.tflite", **{name: numbers()})["last"]
    np.testing.assert_allclose(got, model(numbers()), atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize(
    "function",
    [
        lambda model, x, y: model(x) - y,
        lambda net, model, x: net(model) - x,
        lambda model, /, **tensors: model(tensors["model"]) - tensors["x"],
    ],
)
def test_signature_with_an_input_called_model(tmp_path, function):
    signature = Signature(
        "both",
        function,
        {"model": ((None, None, 4), "float32"), "x": ((None, 1, 1), "float32")},
        {"model": numbers(), "x": np.arange(10).reshape(10, 1, 1)},
    )
    model = small_model()
    export_model(model, tmp_path, signatures=[signature], formats=["tflite"])
    x = np.ones((10, 1, 1), "float32")
    got = run_tflite(tmp_path / "model.tflite", "both", model=numbers(), x=x)["output_0"]
    np.testing.assert_allclose(got, model(numbers()) - 1.0, atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize(
    "make, match",
    [
        (
            lambda: keras.layers.LSTM(3, name="read"),
            r"Layer `read` .*fixed batch size only: replace `keras.layers.LSTM\(3\)` by "
            r"`ka.ExportableRNN\(keras.layers.LSTMCell\(3\), ...\)`.*"
            r"`new.set_weights\(old.get_weights\(\)\)`",
        ),
        (
            lambda: keras.layers.Bidirectional(keras.layers.GRU(3), name="both"),
            r"Layer `both/\w*gru\w*` .*`ka.ExportableRNN\(keras.layers.GRUCell\(3\), ...\)`",
        ),
        (
            lambda: keras.Sequential([keras.layers.SimpleRNN(3, name="read")], name="inner"),
            r"Layer `inner/read` .*`ka.ExportableRNN\(keras.layers.SimpleRNNCell\(3\), ...\)`",
        ),
        (
            lambda: keras.layers.RNN(keras.layers.GRUCell(3), name="read"),
            r"Layer `read` .*replace `keras.layers.RNN\(cell\)` by `ka.ExportableRNN\(cell, ...\)`",
        ),
    ],
)
def test_keras_recurrent_layers_are_named_with_their_cure(tmp_path, make, match):
    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, make()(x))
    with pytest.raises(ExportError, match=match):
        export_model(model, tmp_path / "out", numbers(), formats=["tflite"])
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_keras_convolutional_recurrent_layer_is_named_with_its_cure(tmp_path):
    def model(batch):
        x = keras.Input((None, 6, 4), batch_size=batch, name="x")
        return keras.Model(x, keras.layers.ConvLSTM1D(2, 3, name="read")(x))

    rows = np.random.default_rng(0).normal(size=(3, 5, 6, 4))
    with pytest.raises(ExportError, match="Layer `read` .*batch size only: fix the batch"):
        export_model(model(None), tmp_path / "out", rows, formats=["tflite"])
    export_model(model(1), tmp_path / "out", rows, formats=["tflite"])


@needs_tensorflow
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_the_cure_of_recurrent_layers_works(tmp_path, kind):
    x = keras.Input((None, 4), name="x")
    old = keras.layers.Bidirectional(getattr(keras.layers, kind)(3))
    expected = old(numbers())
    cell = getattr(keras.layers, f"{kind}Cell")(3)
    new = keras.layers.Bidirectional(ka.ExportableRNN(cell))
    model = keras.Model(x, {"states": new(x)})
    new.set_weights(old.get_weights())
    export_model(model, tmp_path, numbers(), formats=["tflite"])
    got = run_tflite(tmp_path / "model.tflite", x=numbers())["states"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
