import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import warnings
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.export import (
    BOUNDS,
    ExportError,
    Signature,
    export_model,
    fixed_sizes,
    flatbuffer,
    full_int8,
    in_place,
    parity,
)
from tests.backend import BACKEND, needs_tensorflow

WORDS = 50


@keras.saving.register_keras_serializable(package="test_export")
class Pool(keras.layers.Layer):
    """Attention over steps with the arithmetic of the package, and with `lowest` free to choose."""

    def __init__(self, units=8, lowest=-3e38, **kwargs):
        super().__init__(**kwargs)
        self.units, self.lowest = units, lowest

    def build(self, value_shape):
        self.hidden = keras.layers.Dense(self.units, activation="tanh", dtype=self.dtype_policy)
        self.score = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy)
        self.hidden.build(value_shape)
        self.score.build((*value_shape[:-1], self.units))

    def call(self, value, mask):
        scores = ops.squeeze(self.score(self.hidden(value)), -1)  # (B, T)
        scores = ops.cast(scores, "float32")
        top = ops.max(ops.where(mask, scores, self.lowest), axis=-1, keepdims=True)
        weights = ops.softmax(ops.where(mask, scores - top, -30.0))
        weights = ops.cast(ops.where(mask, weights, 0.0), value.dtype)
        context = ops.matmul(ops.expand_dims(weights, 1), value)  # (B, 1, D)
        return ops.reshape(context, (-1, value.shape[-1]))

    def get_config(self):
        return super().get_config() | {"units": self.units, "lowest": self.lowest}


@keras.saving.register_keras_serializable(package="test_export")
class Apply(keras.layers.Layer):
    """A layer of one function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def classifier(units=2, lowest=-3e38, dtype=None):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(WORDS, 16, name="words", dtype=dtype)(ids)
    x = Pool(name="pool", lowest=lowest, dtype=dtype)(x, ops.not_equal(ids, 0))
    x = keras.layers.Dense(8, activation="relu", dtype=dtype)(x)
    return keras.Model(ids, keras.layers.Dense(units, name="label", dtype=dtype)(x))


def texts(rows=40, steps=12, seed=0):
    """Ids with padding, and which of two kinds of words each row has one or more of."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((rows, steps), "int32")
    labels = rng.integers(0, 2, rows)
    for row, label in zip(ids, labels, strict=True):
        length = rng.integers(3, steps + 1)
        row[:length] = rng.integers(20, WORDS, length)
        row[rng.choice(length, 2, replace=False)] = rng.integers(1, 10, 2) + 10 * label
    return ids, labels


def small_model(function=None, name="odd"):
    x = keras.Input((None, 4), name="x")
    y = keras.layers.Dense(4, name="first")(x)
    if function is not None:
        y = Apply(function, name=name)(y)
    return keras.Model(x, keras.layers.Dense(3, name="last")(y))


def numbers(rows=10, steps=5):
    return np.random.default_rng(0).normal(size=(rows, steps, 4)).astype("float32")


def run_tflite(path, name=None, custom=(), /, **inputs):
    from ai_edge_litert import interpreter as litert

    if custom:
        interpreter = litert.InterpreterWithCustomOps(custom, model_path=str(path))
    else:
        interpreter = litert.Interpreter(str(path))
    return interpreter.get_signature_runner(name)(**inputs)


def tree_of(folder):
    """Each file below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.skipif(BACKEND == "tensorflow", reason="about other backends")
def test_other_backends_are_told_what_to_do(tmp_path):
    install = r'pip install "keras-attention-layers\[export\]"'
    with pytest.raises(ExportError, match=f"KERAS_BACKEND=tensorflow.*compile=False.*{install}"):
        export_model(small_model(), tmp_path / "out", numbers())
    assert not (tmp_path / "out").exists()


def test_other_backends_need_no_tensorflow():
    """With TensorFlow out of reach the package is imported, and an export says what it needs."""
    other = "jax" if BACKEND == "tensorflow" else BACKEND
    pytest.importorskip(other)
    code = """if True:
        import sys
        sys.modules.update(tensorflow=None, ai_edge_litert=None)  # not to be found
        import keras_attention as ka
        model = ka.AttentionPooling()
        try:
            ka.export_model(model, "out", [[1.0]])
        except ka.ExportError as error:
            print(error)
    """
    environment = os.environ | {"KERAS_BACKEND": other}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert 'pip install "keras-attention-layers[export]"' in out


@needs_tensorflow
def test_smallest(tmp_path):
    import tensorflow as tf

    model, ids = classifier(), texts()[0]
    report = export_model(model, tmp_path / "out", ids)
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == [
        "model.tflite", "model_int8.tflite", "parity.json", "saved_model",
    ]  # fmt: skip
    assert [x.name for x in tmp_path.iterdir()] == ["out"]
    # Asked again from outside, at other sizes than those of the samples.
    other = texts(rows=3, steps=20, seed=1)[0]
    expected = ops.convert_to_numpy(model(other))
    loaded = tf.saved_model.load(str(tmp_path / "out" / "saved_model"))
    got = loaded.signatures["serving_default"](ids=tf.constant(other))["label"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    got = run_tflite(tmp_path / "out" / "model.tflite", ids=other)["label"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert report == json.loads((tmp_path / "out" / "parity.json").read_text())


@needs_tensorflow
def test_report_holds_figures_of_the_written_files(tmp_path):
    model, ids = classifier(), texts()[0]
    report = export_model(model, tmp_path / "out", ids, formats="tflite_float16")
    assert report["machine"]["cpu"] and report["versions"]["keras"] == keras.__version__
    assert report["date"].startswith("20")
    form = report["forms"]["tflite_float16"]
    path = tmp_path / "out" / form["file"]
    assert form["bytes"] == path.stat().st_size
    assert form["bounds"] == BOUNDS["tflite_float16"]
    figures = form["signatures"]["serving_default"]
    got = run_tflite(path, ids=ids)["label"]
    difference = np.abs(got - ops.convert_to_numpy(model(ids))).max()
    assert figures["difference"] == pytest.approx(difference, rel=0.02)
    assert figures["difference"] > 0
    assert figures["agreement"] == 1.0 and figures["rows"] == 40
    assert figures["milliseconds"] > 0
    assert figures["plain_kernels"]["difference"] == pytest.approx(difference, rel=0.02)


@needs_tensorflow
@pytest.mark.parametrize("is_same", [True, False])
def test_the_reference_is_eager_until_a_graph_gives_the_same(tmp_path, is_same):
    import tensorflow as tf

    model, ids = classifier(), texts(rows=26)[0]
    eager, graphs = [], []

    def read(model, ids):
        (eager if tf.executing_eagerly() else graphs).append(ids)
        shift = 0.0 if is_same or tf.executing_eagerly() else 0.5
        return {"label": model(ids) + shift}

    one_by_one = tf.data.Dataset.from_tensor_slices({"ids": ids}).batch(1)
    signature = Signature("ids", read, {"ids": ((None, None), "int32")}, one_by_one)
    batches = signature.batches()
    outputs = parity.reference(signature, model, batches)
    assert len(batches) == 26 and len(graphs) == 1
    assert len(eager) == (20 if is_same else 26)
    np.testing.assert_allclose(
        np.concatenate([x["label"] for x in outputs]), ops.convert_to_numpy(model(ids)), atol=1e-5
    )
    if not is_same:
        with pytest.raises(ExportError, match="`saved_model`.* drifts"):
            export_model(model, tmp_path / "out", signatures=[signature])


@needs_tensorflow
def test_every_format(tmp_path):
    forms = ("saved_model", "tflite", "tflite_float16", "tflite_int8", "tflite_full_int8")
    report = export_model(classifier(), tmp_path, texts()[0], formats=forms)
    assert set(report["forms"]) == set(forms)
    for form in report["forms"].values():
        assert (tmp_path / form["file"]).exists()


@needs_tensorflow
def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    left, right = keras.Input((4,), name="left"), keras.Input((None, 4), name="right")
    summed = keras.layers.Dense(3)(left) + ops.max(right, axis=1)[:, :3]
    model = keras.Model({"right": right, "left": left}, {"wide": summed, "narrow": summed[:, :1]})
    rng = np.random.default_rng(0)
    samples = {"left": rng.normal(size=(6, 4)), "right": rng.normal(size=(6, 5, 4))}
    export_model(model, tmp_path, samples, formats=["tflite"])
    inputs = {name: array.astype("float32") for name, array in samples.items()}
    got = run_tflite(tmp_path / "model.tflite", **inputs)
    expected = model(inputs)
    assert set(got) == {"wide", "narrow"}
    for name in got:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5)


@needs_tensorflow
def test_samples_may_be_a_dataset_with_batches_of_other_lengths(tmp_path):
    import tensorflow as tf

    lengths = [5, 9]
    data = tf.data.Dataset.from_generator(
        lambda: ((texts(4, n)[0], texts(4, n)[1]) for n in lengths),
        output_signature=(
            tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int64),
        ),
    )  # fmt: skip
    report = export_model(classifier(), tmp_path, data, formats=["tflite"])
    assert report["forms"]["tflite"]["signatures"]["serving_default"]["rows"] == 8


@needs_tensorflow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_rebuilt_in_float32(tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    model = classifier()
    assert model(texts()[0]).dtype == policy.removeprefix("mixed_")
    report = export_model(model, tmp_path, texts()[0], formats=["saved_model", "tflite"])
    assert keras.config.dtype_policy().name == policy
    rebuilt = report["forms"]["float32_rebuild"]["signatures"]["serving_default"]
    assert 0 < rebuilt["difference"] < 0.05
    keras.config.set_dtype_policy("float32")
    same = classifier()
    same.set_weights(model.get_weights())
    got = run_tflite(tmp_path / "model.tflite", ids=texts()[0])["label"]
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, ops.convert_to_numpy(same(texts()[0])), atol=1e-5)


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
def test_loop_in_full_int8_is_refused_by_name(tmp_path):
    x = keras.Input((None, 4), batch_size=1, name="x")
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.GRU(3, name="recurrent")(x)))
    with pytest.raises(ExportError, match="loop.*`recurrent`.*`tflite_int8`"):
        export_model(model, tmp_path / "out", numbers(), formats=["tflite", "tflite_full_int8"])
    assert not list(tmp_path.iterdir())
    # The same model, batch by batch of its fixed size, in a form that can hold a loop.
    report = export_model(model, tmp_path / "out", numbers(rows=3), formats=["tflite"])
    assert report["forms"]["tflite"]["signatures"]["serving_default"]["rows"] == 3


@needs_tensorflow
@pytest.mark.parametrize("form", ["saved_model", "tflite_int8"])
def test_form_past_its_bound_leaves_the_folder_as_it_was(tmp_path, form):
    out = tmp_path / "out"
    export_model(small_model(), out, numbers(), formats=["saved_model", "tflite"])
    (out / "notes.txt").write_text("mine")
    before = tree_of(tmp_path)
    with pytest.raises(
        ExportError, match=rf"`{form}`.* drifts: .*agreement 1 on 40 rows .bound 1.1"
    ):
        export_model(
            classifier(), out, texts()[0], formats=["tflite", form],
            bounds={form: {"agreement": 1.1}},
        )  # fmt: skip
    assert tree_of(tmp_path) == before
    export_model(classifier(), out, texts()[0], formats=["tflite"])
    after = tree_of(tmp_path)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        "out/model.tflite", "out/parity.json",
    }  # fmt: skip


@needs_tensorflow
def test_agreement_past_its_bound_is_an_error(tmp_path):
    sides = itertools.cycle([0, 1])  # asked of the Keras model, then of the written form

    with pytest.raises(ExportError, match=r"`tflite`.*agreement 0 on 10 rows \(bound 1\)"):
        export_model(
            small_model(),
            tmp_path / "out",
            numbers(),
            formats=["tflite"],
            decision=lambda outputs: np.full(10, next(sides)),
        )
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_nan_never_passes(tmp_path):
    samples = numbers()
    samples[3, 2, 1] = np.nan
    with pytest.raises(ExportError, match="`last`.*not finite.*the model itself"):
        export_model(small_model(), tmp_path / "out", samples)
    # A function that is finite only while it is asked eagerly, as the Keras model is.
    signature = Signature(
        "numbers",
        lambda model, x: model(x) if hasattr(x, "numpy") else ops.sqrt(-1.0 - ops.abs(model(x))),
        {"x": ((None, None, 4), "float32")},
        numbers(),
    )
    loose = {"difference": None, "agreement": None}
    for form in ("saved_model", "tflite"):
        with pytest.raises(ExportError, match="largest difference nan"):
            export_model(
                small_model(), tmp_path / "out", signatures=[signature], formats=[form],
                bounds={form: loose},
            )  # fmt: skip
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_text_and_ids_share_one_file(tmp_path):
    import tensorflow as tf

    tensorflow_text = pytest.importorskip("tensorflow_text")
    words = ["[PAD]", "[UNK]", "good", "bad", "film", "##s", "a"]
    tokenizer = tensorflow_text.FastBertTokenizer(words, support_detokenization=False)
    reviews = ["a good film", "bad films", "A film: good!", "naïve", "bad bad bad film"]

    def read(model, text):
        ids = tokenizer.tokenize(text).to_tensor()
        return {"label": model(ids, training=False)}

    model = classifier()
    table = tokenizer.tokenize(reviews).to_tensor().numpy().astype("int32")
    attach = {"vocabulary.txt": "\n".join(words).encode(), "labels.txt": b"no\nyes"}
    report = export_model(
        model,
        tmp_path,
        formats=("saved_model", "tflite", "tflite_int8", "tflite_full_int8"),
        signatures=[
            Signature("text", read, {"text": ((None,), "string")}, reviews, [tokenizer], text=True),
            Signature(
                "ids",
                lambda model, ids: {"label": model(ids, training=False)},
                {"ids": ((None, None), "int32")},
                table,
            ),
        ],
        attach=attach,
        bounds={"tflite_full_int8": {"agreement": None, "difference": 0.05}},  # not trained
    )
    expected = ops.convert_to_numpy(model(table))
    custom = tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS
    path = tmp_path / "model.tflite"
    encoded = np.array([x.encode() for x in reviews], dtype=object)
    got = run_tflite(path, "text", custom, text=encoded)["label"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(run_tflite(path, "ids", ids=table)["label"], expected, atol=1e-5)
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == attach
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    for name in ("serving_default", "text"):
        got = loaded.signatures[name](text=tf.constant(reviews))["label"]
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert set(report["forms"]["tflite"]["signatures"]) == {"text", "ids"}


@needs_tensorflow
def test_signatures_share_weights(tmp_path):
    rows = texts(rows=4)[0]
    x = keras.Input((None,), dtype="int32", name="ids")
    wide = keras.layers.Dense(200)(keras.layers.Embedding(WORDS, 200)(x))
    model = keras.Model(x, keras.layers.Dense(2)(ops.max(wide, axis=1)))
    signatures = [
        Signature(name, function, {"ids": ((None, None), "int32")}, rows)
        for name, function in [
            ("classify", lambda model, ids: model(ids)),
            ("probability", lambda model, ids: {"probability": ops.softmax(model(ids))}),
        ]
    ]
    sizes = [
        export_model(model, tmp_path, signatures=signatures[:n], formats=["tflite"]) for n in (1, 2)
    ]
    one, two = (report["forms"]["tflite"]["bytes"] for report in sizes)
    assert one < two < 1.2 * one


@needs_tensorflow
def test_float32_file_with_text_operators_is_refused_without_permission(tmp_path):
    tensorflow_text = pytest.importorskip("tensorflow_text")
    tokenizer = tensorflow_text.FastBertTokenizer(["[UNK]", "a"], support_detokenization=False)

    def read(model, text):
        ids = tokenizer.tokenize(text).to_tensor()
        return model(ids, training=False)

    signature = Signature("text", read, {"text": ((None,), "string")}, ["a a"], [tokenizer])
    with pytest.raises(ExportError, match="no builtin operator for operator `FastBertNormalize"):
        export_model(classifier(), tmp_path / "out", signatures=[signature], formats=["tflite"])


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


@needs_tensorflow
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_layers_of_the_package(tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(WORDS, 16, mask_zero=True)(ids)
    x = x + ka.ContentAttention()(x, x)
    x = keras.layers.LayerNormalization()(x + ka.MultiHeadAttention(2, 8)(x, x))
    x, weights = ka.AttentionPooling()(x, return_attention_scores=True)
    label = keras.layers.Dense(2)(x)
    model = keras.Model(ids, {"label": label, "weights": weights})
    report = export_model(model, tmp_path, texts()[0], decision="weights", formats=["tflite"])
    assert ("float32_rebuild" in report["forms"]) == (policy != "float32")
    got = run_tflite(tmp_path / "model.tflite", ids=texts(3, 30)[0])
    assert got["label"].shape == (3, 2) and got["weights"].dtype == "float32"
    np.testing.assert_allclose(got["weights"].sum(-1), 1, atol=1e-5)


@needs_tensorflow
def test_attached_files_travel_in_each_tflite_file(tmp_path):
    attach = {"vocabulary.txt": "näive\n".encode(), "labels.txt": b"no\nyes"}
    export_model(small_model(), tmp_path, numbers(), attach=attach)
    for name in ("model.tflite", "model_int8.tflite"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert {x: archive.read(x) for x in archive.namelist()} == attach
        assert run_tflite(tmp_path / name, x=numbers())["last"].shape == (10, 5, 3)


@needs_tensorflow
def test_decisions(tmp_path):
    model = classifier(units=1)
    model.layers[-1].bias.assign([0.5])
    report = export_model(model, tmp_path, texts()[0], formats=["tflite_int8"], decision=None)
    assert report["forms"]["tflite_int8"]["signatures"]["serving_default"]["agreement"] is None

    signature = Signature("x", lambda model, x: x, {"x": ((None, 1), "float32")}, [[0.0]])
    free = {"difference": None, "agreement": None}

    def agree(values, others, **kwargs):
        one = dataclasses.replace(signature, **kwargs)
        batches = [{"x": np.zeros((len(values), 1))}]
        expected, got = {"y": np.array(values)}, {"y": np.array(others)}
        figures = parity.check("tflite", one, lambda batch: got, batches, [expected], free)
        return figures["agreement"]

    assert agree([[0.4], [0.6]], [[0.3], [0.4]]) == 0.5  # one unit: a threshold
    assert agree([[1.0, 2.0], [3.0, 1.0]], [[1.0, 0.0], [1.5, 1.0]]) == 0.5  # the highest
    assert agree([[1.0, 1.000001]], [[1.000001, 1.0]]) == 1.0  # a tie
    assert agree([[1.0, 1.01]], [[1.01, 1.0]]) == 0.0
    assert agree([[3, 4]], [[3, 5]]) == 0.5  # whole numbers are decisions themselves
    assert agree([[0.4]], [[0.6]], decision=lambda outputs: outputs["y"] > 0.7) == 1.0
    with pytest.raises(ValueError, match="`decision`.*\\['label'\\].*'other'"):
        export_model(model, tmp_path / "out", texts()[0], decision="other")


@needs_tensorflow
def test_missing_interpreter_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ai_edge_litert" else find(name)
    )
    with pytest.raises(ImportError, match=r'pip install "keras-attention-layers\[export\]"'):
        export_model(small_model(), tmp_path / "out", numbers())
    export_model(small_model(), tmp_path / "out", numbers(), formats=["saved_model"])


@needs_tensorflow
def test_missing_text_operators_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    signature = Signature(
        "text", lambda model, x: x, {"x": ((None,), "float32")}, np.ones(3), text=True
    )
    with pytest.raises(ImportError, match="`text=True`.*pip install tensorflow-text"):
        export_model(small_model(), tmp_path / "out", signatures=[signature])
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_is_quiet(tmp_path, capfd):
    export_model(small_model(), tmp_path, numbers(), formats=["tflite", "tflite_full_int8"])
    assert capfd.readouterr() == ("", "")


@needs_tensorflow
def test_log_goes_with_an_error(tmp_path):
    with pytest.raises(ExportError) as caught:
        export_model(small_model(ops.erf), tmp_path / "out", numbers(), formats=["tflite"])
    assert "tf.Erf" in "".join(caught.value.__notes__)


@needs_tensorflow
def test_quantized_and_subclassed_models(tmp_path):
    model = small_model()
    with pytest.warns(UserWarning, match="InputLayer"):
        model.quantize("int8")
    with pytest.raises(ExportError, match="`first` is quantized"):
        export_model(model, tmp_path / "out", numbers())

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(3)

        def call(self, x):
            return self.last(x)

    model = Subclassed()
    model(numbers())
    with pytest.raises(ValueError, match="not a functional model.*Signature"):
        export_model(model, tmp_path / "out", numbers())
    signature = Signature(
        "numbers", lambda model, x: model(x), {"x": ((None, None, 4), "float32")}, numbers()
    )
    export_model(model, tmp_path / "out", signatures=[signature], formats=["tflite"])
    got = run_tflite(tmp_path / "out" / "model.tflite", "numbers", x=numbers())["output_0"]
    np.testing.assert_allclose(got, model(numbers()), atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"formats": ["onnx"]}, "`formats` must be some of.*'onnx'"),
        ({"formats": []}, "`formats` must be some of"),
        ({"samples": None}, "`samples` or `signatures`"),
        ({"samples": np.zeros((2, 5, 3))}, r"`x` must have the shape \(None, None, 4\).*5, 3"),
        ({"samples": np.zeros((0, 5, 4))}, "`samples`.*is empty"),
        ({"samples": {"y": numbers()}}, r"must have the inputs \['x'\].*'y'"),
        ({"samples": numbers().astype("complex64")}, "`x` must be float32.*complex64"),
        ({"samples": numbers()[0]}, r"shape \(None, None, 4\).*\(5, 4\).*`.batch\(32\)`"),
        ({"samples": [[[1.0] * 4], [[1.0] * 4] * 2]}, "equal shapes: pad the shorter"),
        ({"bounds": {"tflite": {"size": 1}}}, "`bounds` must map.*'size'"),
        ({"attach": {"labels.txt": "text"}}, "`attach` must be"),
        ({"calibration_rows": 0}, "`calibration_rows`.*calibration_rows=0"),
    ],
)
def test_rejects_bad_argument(tmp_path, arguments, match):
    with pytest.raises(ValueError, match=match):
        export_model(
            **{"model": small_model(), "folder": tmp_path / "out", "samples": numbers()} | arguments
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"name": "a b"}, "`name` must be a Python identifier.*'a b'"),
        ({"function": 3}, "`function` must be a function.*3"),
        ({"inputs": {}}, "`inputs` must be a dict"),
        ({"inputs": {"self": ((None,), "int32")}}, "names of `inputs`.*not be `self`.*'self'"),
        ({"inputs": {"a b": ((None,), "int32")}}, "names of `inputs` must consist of.*'a b'"),
        ({"function": lambda model, y: y}, r"`function` of signature `a`.*\['x'\].*'y'"),
        ({"function": lambda: 0}, "`function` of signature `a` must take a model"),
        ({"decision": 1}, "`decision` must be.*1"),
    ],
)
def test_rejects_bad_signature(arguments, match):
    good = {
        "name": "a",
        "function": lambda model, x: x,
        "inputs": {"x": ((None,), "int32")},
        "samples": [1],
    }
    Signature(**good)
    with pytest.raises(ValueError, match=match):
        Signature(**good | arguments)


# ------------------------------------------------------------------------------- fixed sizes


def sum_of(left, right):
    """A model that adds two inputs of fixed shapes, `a` and `b`, with samples."""
    a, b = keras.Input(batch_shape=left, name="a"), keras.Input(batch_shape=right, name="b")
    rng = np.random.default_rng(0)
    samples = {
        name: rng.normal(size=shape).astype("float32")
        for name, shape in (("a", left), ("b", right))
    }
    return keras.Model([a, b], {"sum": keras.layers.Dense(3)(a + b)}), samples


SUMS = [
    ((1, 5, 1), (1, 5, 1)),
    ((1, 5, 3), (1, 5, 1)),  # along axis 1, which TensorFlow calls channels first
    ((1, 5, 3, 2), (1, 5, 1, 1)),
    ((1, 5, 3), (1, 1, 3)),  # a bias indeed
]


@needs_tensorflow
@pytest.mark.parametrize("left, right", SUMS)
def test_sums_of_fixed_sizes(tmp_path, left, right):
    model, samples = sum_of(left, right)
    export_model(model, tmp_path, samples, formats=["saved_model", "tflite"])
    kernel, bias = map(ops.convert_to_numpy, model.layers[-1].weights)
    expected = (samples["a"] + samples["b"]) @ kernel + bias
    got = run_tflite(tmp_path / "model.tflite", **samples)["sum"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@needs_tensorflow
def test_sums_that_keras_takes_for_a_bias_do_not_convert_as_they_are(tmp_path, monkeypatch):
    """Why they are rewritten; if this fails, Keras or the converter has learned to do it."""
    monkeypatch.setattr(fixed_sizes, "rewrite", lambda folder: None)
    for left, right in SUMS[:2]:
        model, samples = sum_of(left, right)
        with pytest.raises(ExportError, match="no builtin operator for operator `Transpose`"):
            export_model(model, tmp_path / "out", samples, formats=["tflite"])


def additive_scores():
    """Steps, compared with a constant query as by additive attention, in a model of fixed sizes."""
    x = keras.Input(batch_shape=(1, 3, 2, 4), name="x")
    key = keras.layers.Dense(6, use_bias=False, name="key")(keras.layers.Reshape((3, 8))(x))
    query = ops.convert_to_tensor(np.linspace(-1, 1, 6, dtype="float32").reshape(1, 1, 1, 6))
    hidden = ops.tanh(ops.add(query, ops.expand_dims(key, 1)))
    return keras.Model(x, {"scores": keras.layers.Dense(1, use_bias=False, name="score")(hidden)})


@needs_tensorflow
def test_new_axes_of_fixed_sizes(tmp_path):
    model = additive_scores()
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 4)).astype("float32")
    export_model(model, tmp_path, x, formats=["saved_model", "tflite"])
    key, score = (ops.convert_to_numpy(model.get_layer(name).kernel) for name in ("key", "score"))
    expected = np.tanh(np.linspace(-1, 1, 6) + x.reshape(1, 1, 3, 8) @ key) @ score
    got = run_tflite(tmp_path / "model.tflite", x=x)["scores"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@needs_tensorflow
def test_new_axes_do_not_convert_as_they_are(tmp_path, monkeypatch):
    """Why they are rewritten; if this fails, the converter has learned to do it."""
    monkeypatch.setattr(fixed_sizes, "rewrite", lambda folder: None)
    with pytest.raises(ExportError, match="the converter failed around the layers .*`key`"):
        x = np.zeros((1, 3, 2, 4))
        export_model(additive_scores(), tmp_path / "out", x, formats=["tflite"])


@needs_tensorflow
@pytest.mark.parametrize("score", ["additive", "concat"])
def test_additive_attention_of_fixed_sizes(tmp_path, score):
    x = keras.Input(batch_shape=(1, 3, 2, 4), name="x")
    steps = keras.layers.Reshape((3, 8))(x)
    model = keras.Model(x, {"context": ka.AttentionPooling(score=score)(steps)})
    export_model(model, tmp_path, np.ones((2, 3, 2, 4)), formats=["tflite"])


def run_plain(content, *arrays):
    """The first output of a TFLite file, by the plain kernels; inputs in the file's order."""
    from ai_edge_litert import interpreter as litert

    interpreter = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def converted(function, *shapes):
    import tensorflow as tf

    specs = [tf.TensorSpec(shape) for shape in shapes]
    concrete = tf.function(function).get_concrete_function(*specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def two_shapes_of(make):
    """A function that reads what `make` makes in one shape after it changed it in another."""
    import tensorflow as tf

    def function(x, factor):
        y = make(x)  # (1, 4)
        larger = tf.reshape(tf.reshape(y, (4, 1)) * factor, (1, 4, 1))
        return tf.concat([tf.reshape(y, (1, 4, 1)), larger], -1)

    return function


X, FACTOR = np.array([[0.5, 1, 2, 3]], "float32"), np.array([[10]], "float32")


@needs_tensorflow
@pytest.mark.parametrize("operator", ["softmax", "multiply", "add", "divide"])
def test_plain_kernels_overwrite_what_is_read_later(operator):
    """Why files get copies; that the plain kernels err is TFLite's fault, of ai-edge-litert 2.3."""
    import tensorflow as tf

    make = {
        "softmax": lambda x: tf.nn.softmax(x * 2.0),
        "multiply": lambda x: tf.exp(x + 1.0) * 3.0,
        "add": lambda x: x * 2.0 + 1.0,
        "divide": lambda x: (x + 1.0) / (2.0 + tf.reduce_sum(x)),
    }[operator]
    content = converted(two_shapes_of(make), (1, 4), (1, 1))
    expected = two_shapes_of(make)(X, FACTOR).numpy()
    safe = in_place.protect(content)
    np.testing.assert_allclose(run_plain(safe, X, FACTOR), expected, rtol=1e-5)
    assert in_place.protect(safe) == safe
    if operator == "softmax":
        wrong = run_plain(content, X, FACTOR)[..., 0]
        np.testing.assert_allclose(wrong, 10 * expected[..., 0], rtol=1e-5)


@needs_tensorflow
def test_files_without_the_danger_stay_as_they_are(tmp_path, monkeypatch):
    """A copy is made only where memory is shared and still read: most files have no such place."""
    import tensorflow as tf

    def read_before(x, factor):
        y = tf.nn.softmax(x * 2.0)
        first = tf.reshape(y, (1, 4, 1)) + 1.0
        return tf.concat([first, tf.reshape(tf.reshape(y, (4, 1)) * factor, (1, 4, 1))], -1)

    content = converted(lambda x, factor: tf.reshape(x * 2.0, (4, 1)) * factor, (1, 4), (1, 1))
    assert in_place.protect(content) == content
    content = in_place.protect(converted(read_before, (1, 4), (1, 1)))
    np.testing.assert_allclose(run_plain(content, X, FACTOR), read_before(X, FACTOR), rtol=1e-5)
    inserted = []
    monkeypatch.setattr(in_place, "_copy_before", lambda *args: inserted.append(args))
    export_model(small_model(), tmp_path, numbers(), formats=["tflite"])
    assert not inserted


@needs_tensorflow
@pytest.mark.parametrize("batch", [1, None])
def test_weights_in_two_shapes(tmp_path, batch):
    """Weights that are returned, and scaled for something else: the sentiment recipe's case."""
    x = keras.Input(batch_shape=(batch, 5, 4), name="x")
    scores = ops.reshape(keras.layers.Dense(1)(x), (-1, 1, 5)) * 2.0  # of one query
    weights = ops.squeeze(ops.softmax(scores, axis=-1), 1)
    strength = ops.exp(ops.max(x, axis=1)[:, :1])
    contribution = ops.expand_dims(weights * strength, -1) * x
    model = keras.Model(
        x, {"all": ops.concatenate([ops.expand_dims(weights, -1), contribution], axis=-1)}
    )
    forms = ["tflite", "tflite_full_int8"]
    bounds = {"tflite_full_int8": {"difference": 0.1, "agreement": None}}
    export_model(model, tmp_path, numbers(), formats=forms, bounds=bounds)


# --------------------------------------------------------------------------- errors with names


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


# ------------------------------------------------------------------------- folders and samples


@needs_tensorflow
@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_place_of_the_folder(tmp_path, monkeypatch, below):
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setattr(parity, "reference", lambda *args: pytest.fail("it went on"))
    with pytest.raises(ValueError, match="`folder` must be.*taken' is a file"):
        export_model(small_model(), tmp_path / "taken" / below, numbers())
    assert tree_of(tmp_path) == {"taken": b"mine"}


@needs_tensorflow
def test_parents_of_a_failed_export_go_with_it(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(ExportError, match="`Erf`"):
        export_model(small_model(ops.erf), tmp_path / "old/a/b", numbers(), formats=["tflite"])
    assert [x.name for x in tmp_path.rglob("*")] == ["old"]
    export_model(small_model(), tmp_path / "old/a/b", numbers(), formats=["tflite"])
    assert (tmp_path / "old/a/b/model.tflite").exists()


LEFT, RIGHT = np.ones((6, 4), "float32"), numbers(rows=6)
TARGETS, SHARES = np.zeros(6, "float32"), np.ones(6, "float32")


def signature_of(names):
    shapes = {"left": (None, 4), "right": (None, None, 4)}
    inputs = {name: (shapes[name], "float32") for name in names}
    return lambda samples: Signature("a", lambda model, **tensors: model, inputs, samples)


@needs_tensorflow
@pytest.mark.parametrize(
    "names, element",
    [
        (["right"], RIGHT),
        (["right"], (RIGHT,)),
        (["right"], (RIGHT, TARGETS)),
        (["right"], (RIGHT, TARGETS, SHARES)),
        (["right"], ((RIGHT,), TARGETS)),
        (["right"], {"right": RIGHT}),
        (["right"], ({"right": RIGHT},)),
        (["right"], ({"right": RIGHT}, TARGETS)),
        (["left", "right"], (LEFT, RIGHT)),
        (["left", "right"], ((LEFT, RIGHT),)),
        (["left", "right"], ((LEFT, RIGHT), TARGETS)),
        (["left", "right"], ((LEFT, RIGHT), TARGETS, SHARES)),
        (["left", "right"], {"right": RIGHT, "left": LEFT}),
        (["left", "right"], ({"right": RIGHT, "left": LEFT},)),
        (["left", "right"], ({"right": RIGHT, "left": LEFT}, TARGETS, SHARES)),
    ],
)
def test_samples_in_each_form(names, element):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(element).batch(4)
    batches = signature_of(names)(data).batches()
    assert [list(batch) for batch in batches] == [names, names]
    for name, expected in (("left", LEFT), ("right", RIGHT)):
        if name in names:
            np.testing.assert_array_equal(np.concatenate([x[name] for x in batches]), expected)


@pytest.mark.parametrize(
    "names, samples",
    [
        (["right"], RIGHT),
        (["right"], RIGHT.tolist()),
        (["right"], RIGHT.astype("float64")),
        (["right"], [RIGHT]),
        (["right"], (RIGHT,)),
        (["left", "right"], [LEFT, RIGHT]),
        (["left", "right"], (LEFT.tolist(), RIGHT)),
        (["left", "right"], {"left": LEFT, "right": RIGHT}),
    ],
)
def test_samples_as_arrays(names, samples):
    (batch,) = signature_of(names)(samples).batches()
    np.testing.assert_array_equal(batch["right"], RIGHT)
    assert batch["right"].dtype == "float32" and list(batch) == names


@needs_tensorflow
def test_samples_that_do_not_fit_say_why():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices
    both = signature_of(["left", "right"])
    with pytest.raises(ValueError, match=r"the inputs \['left', 'right'\]. Received: 3 arrays"):
        both(data((LEFT, RIGHT, TARGETS)).batch(2)).batches()
    with pytest.raises(ValueError, match=r"\['left', 'right'\]. Received: one array .*\(6, 4\)"):
        both(LEFT).batches()
    one = signature_of(["right"])
    ragged = tf.ragged.constant([[[1.0] * 4], [[1.0] * 4] * 2], ragged_rank=1)
    for samples in (ragged, data(ragged).batch(2)):
        with pytest.raises(ValueError, match=r"`right` must be one array.*`.*to_tensor\(\).*`"):
            one(samples).batches()
    assert one(ragged.to_tensor()).batches()[0]["right"].shape == (2, 2, 4)
    with pytest.raises(ValueError, match=r"`.batch\(32\)`"):
        one(data(RIGHT)).batches()


@pytest.mark.parametrize(
    "dtype, samples, expected",
    [
        ("float32", np.array([0, 255], "uint8"), [0, 255]),
        ("float32", np.array([True, False]), [1, 0]),
        ("uint8", np.array([0, 255]), [0, 255]),
        ("int32", np.array([0, 255], "uint8"), [0, 255]),
        ("bool", np.array([0, 1]), [False, True]),
        ("uint8", np.array([0, 256]), "uint8, which does not hold all.*int64 from 0 to 256"),
        ("int32", np.array([0, 2**31]), "int32, which does not hold all"),
        ("bool", np.array([0, 2]), "bool, which does not hold all"),
        ("uint8", np.array([0.0, 1.0]), "must be uint8. Received: float64"),
    ],
)
def test_samples_of_another_type(dtype, samples, expected):
    signature = Signature("a", lambda model, x: x, {"x": ((None,), dtype)}, samples)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            signature.batches()
    else:
        (batch,) = signature.batches()
        assert batch["x"].dtype == dtype and batch["x"].tolist() == expected


@needs_tensorflow
def test_images_of_bytes(tmp_path):
    image = keras.Input((8, 7, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    model = keras.Model(image, keras.layers.Dense(2, name="label")(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 7, 3))
    export_model(model, tmp_path, images, formats=["saved_model", "tflite"])
    got = run_tflite(tmp_path / "model.tflite", image=images.astype("uint8"))["label"]
    np.testing.assert_allclose(got, model(images.astype("uint8")), atol=1e-5)


@needs_tensorflow
def test_samples_without_steps(tmp_path):
    export_model(small_model(), tmp_path, numbers(steps=0), formats=["tflite"])  # it can
    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, ka.AttentionPooling()(x))
    with pytest.raises(ExportError, match="does not run .*axis of length 0"):  # XNNPACK cannot
        export_model(model, tmp_path / "out", numbers(steps=0), formats=["tflite"])
