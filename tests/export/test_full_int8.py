"""Files in 8-bit integers alone."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.export import ExportError, export_model, flatbuffer, full_int8
from tests.backend import needs_tensorflow
from tests.export.models import WORDS, classifier, numbers, run_tflite, texts


@needs_tensorflow
def test_loop_in_full_int8_is_refused_by_name(tmp_path):
    x = keras.Input((None, 4), batch_size=1, name="x")
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.GRU(3, name="recurrent")(x)))
    with pytest.raises(ExportError, match="loop.*`recurrent`.*`tflite_int8`"):
        export_model(model, tmp_path / "out", numbers(), formats=["tflite", "tflite_full_int8"])
    assert not list(tmp_path.iterdir())
    # The same model, batch by batch of its fixed size, in a form that can hold a loop.
    report = export_model(model, tmp_path / "out", numbers(rows=3), formats=["tflite"])
    assert report["forms"]["tflite"]["signatures"]["serving_default"]["rows"] == 3


@pytest.fixture(scope="module")
def trained():
    """A classifier by planted words, of up to 512 steps, most of them padding; with test rows."""
    keras.utils.set_random_seed(7)
    model = classifier()
    model.compile(
        keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    ids, labels = texts(rows=600, steps=512)
    model.fit(ids, labels, epochs=4, verbose=0)
    ids, labels = texts(rows=200, steps=512, seed=1)
    assert (model.predict(ids, verbose=0).argmax(-1) == labels).mean() > 0.95
    return model, ids


def operators_by_type(path):
    """Set of (operator, type of its first output) in the first graph of a TFLite file."""
    content = flatbuffer.read(path.read_bytes())
    types = {value: name for name, value in vars(flatbuffer.schema().TensorType).items()}
    graph = content.subgraphs[0]
    return {
        (flatbuffer.operator_name(content, x), types[graph.tensors[x.outputs[0]].type])
        for x in graph.operators
    }


@needs_tensorflow
@pytest.mark.parametrize("lowest", [-1e9, -3e38])
def test_full_int8_keeps_decisions_over_512_steps(tmp_path, trained, lowest):
    model, ids = classifier(lowest=lowest), trained[1]
    model.set_weights(trained[0].get_weights())
    report = export_model(model, tmp_path, ids, formats=["tflite", "tflite_full_int8"])
    figures = report["forms"]["tflite_full_int8"]["signatures"]["serving_default"]
    assert figures["agreement"] >= 0.99 and figures["plain_kernels"]["agreement"] >= 0.99
    size = np.abs(ops.convert_to_numpy(model(ids))).max()
    assert figures["difference"] < 0.05 * size
    kinds = operators_by_type(tmp_path / "model_full_int8.tflite")
    assert {("FULLY_CONNECTED", "INT8"), ("TANH", "INT8"), ("GATHER", "INT8")} <= kinds
    assert {("SOFTMAX", "FLOAT32"), ("BATCH_MATMUL", "FLOAT32")} <= kinds
    assert not {("FULLY_CONNECTED", "FLOAT32"), ("SOFTMAX", "INT8")} & kinds
    assert not any(operator.startswith("CUSTOM") for operator, _ in kinds)
    # Inputs and outputs have kept their types.
    got = run_tflite(tmp_path / "model_full_int8.tflite", ids=ids[:2, :30])["label"]
    assert got.dtype == "float32"


@needs_tensorflow
def test_the_converters_own_full_int8_loses_the_decisions(tmp_path, trained, monkeypatch):
    """Why attention weights stay in float; if this fails, TensorFlow has learned to do it."""
    monkeypatch.setattr(full_int8, "_around_normalizers", lambda model, graph: set())
    with pytest.raises(ExportError, match="`tflite_full_int8`.* drifts"):
        export_model(*[trained[0], tmp_path / "out", trained[1]], formats=["tflite_full_int8"])
    assert not list(tmp_path.iterdir())


@needs_tensorflow
@pytest.mark.parametrize("normalizer", ["sparsemax", "entmax15", "hard"])
def test_full_int8_of_each_normalizer(tmp_path, normalizer):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(WORDS, 16, mask_zero=True)(ids)
    x = ka.AttentionPooling(normalizer=normalizer)(x)
    model = keras.Model(ids, keras.layers.Dense(2, name="label")(x))
    forms = ["tflite", "tflite_full_int8"]
    bounds = {"tflite_full_int8": {"agreement": 0.9}}  # not trained: some are nearly ties
    export_model(model, tmp_path, texts(steps=100)[0], formats=forms, bounds=bounds)
    types = {kind for name, kind in operators_by_type(tmp_path / "model_full_int8.tflite")
             if name in ("SOFTMAX", "TOPK_V2", "CUMSUM", "SUM", "SELECT_V2", "DIV")}  # fmt: skip
    assert "FLOAT32" in types and "INT8" not in types
