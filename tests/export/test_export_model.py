"""export_model: what it writes, checks and refuses."""

import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.export import BOUNDS, ExportError, Signature, export_model, parity
from tests.backend import BACKEND, needs_tensorflow
from tests.export.models import WORDS, classifier, numbers, run_tflite, small_model, texts, tree_of


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
