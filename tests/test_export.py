import dataclasses
import importlib.util
import itertools
import json
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
    flatbuffer,
    full_int8,
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


def run_tflite(path, name=None, custom=(), **inputs):
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
    with pytest.raises(ExportError, match="KERAS_BACKEND=tensorflow"):
        export_model(small_model(), tmp_path / "out", numbers())
    assert not (tmp_path / "out").exists()


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
    with pytest.raises(ExportError, match="`Erf` in layer `odd`"):
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
    with pytest.raises(ImportError, match=r'pip install "keras_attention\[export\]"'):
        export_model(small_model(), tmp_path / "out", numbers())
    export_model(small_model(), tmp_path / "out", numbers(), formats=["saved_model"])


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
        ({"decision": 1}, "`decision` must be.*1"),
    ],
)
def test_rejects_bad_signature(arguments, match):
    good = {"name": "a", "function": len, "inputs": {"x": ((None,), "int32")}, "samples": [1]}
    with pytest.raises(ValueError, match=match):
        Signature(**good | arguments)
