"""Exports of the recipes with fixed sizes, as browsers and neural processors take them."""

import numpy as np
import pytest

import keras_attention as ka
from recipes import document_classification, sentiment_analysis
from recipes.kit import exports
from recipes.kit.errors import UserError
from recipes.parts import ngram_documents, ngram_texts, ngrams
from recipes.text import sentences

WORDS, STEPS = 60, 64


def _texts(rng, count=40):
    return [rng.integers(6, WORDS, size=rng.integers(10, STEPS)) for _ in range(count)]


def _padded(texts):
    ids = np.zeros((len(texts), STEPS), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return ids


def _counted(texts, labels, order):
    return ngrams.select(
        texts,
        labels,
        vocabulary_size=WORDS,
        num_classes=int(labels.max()) + 1,
        order=order,
        min_texts=2,
    )


def _sentiment(rng, texts):
    config = sentiment_analysis.Config()
    counted = _counted(texts, rng.integers(0, 2, len(texts)), config.order)
    data = ngram_texts.Texts([f"word{i}" for i in range(WORDS)], {}, *counted)
    training, model = sentiment_analysis.build_model(config, data)
    salience = training.get_layer("salience").embeddings
    salience.assign(rng.normal(size=salience.shape))  # as if it had learned which words count
    return model


def _documents(rng, texts):
    config = document_classification.Config()
    keys, counts = _counted(texts, rng.integers(0, 3, len(texts)), config.order)
    vocabulary = ["[PAD]", "[UNK]", ".", "!", "?", sentences.PARAGRAPH]
    vocabulary += [f"word{i}" for i in range(WORDS - len(vocabulary))]
    idf = np.exp(rng.normal(size=len(keys)))
    shares = np.ones(len(texts), "float32")
    data = ngram_documents.Documents(vocabulary, {}, {}, shares, keys, counts, idf)
    return document_classification.build_model(config, data)[1]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("make", [_sentiment, _documents])
def test_ids_of_fixed_sizes(tmp_path, make, batch):
    rng = np.random.default_rng(0)
    texts = _texts(rng)
    model = make(rng, texts)
    report = ka.export_model(
        model,
        tmp_path,
        signatures=[
            ka.Signature(
                "ids",
                lambda model, ids: model(ids, training=False),
                {"ids": ((batch, STEPS), "int32")},
                _padded(texts[:6]),
                decision="probability",
            )
        ],
        formats=["tflite"],
    )
    figures = report["forms"]["tflite"]["signatures"]["ids"]
    for kernels in (figures, figures["plain_kernels"]):
        assert kernels["rows"] == 6 and kernels["difference"] < 1e-4


def test_a_compiled_function_is_traced_once_here_and_anew_where_it_is_exported():
    import tensorflow as tf

    traced = []

    def function(model, x):
        traced.append(tf.inside_function())
        return {"y": model * x}

    run, x = exports.compiled(function), tf.constant([1, 3])
    for _ in range(3):
        assert run(2, x=x)["y"].numpy().tolist() == [2, 6]
    assert traced == [True]
    assert run(5, x=x)["y"].numpy().tolist() == [5, 15]  # another model
    tf.function(lambda x: run(2, x=x))(x)
    assert traced == [True] * 3
    run = exports.compiled(function, {"x": ((None,), "int32")})
    for size in (1, 2, 3):
        assert run(2, x=tf.range(size))["y"].numpy().tolist() == [2 * n for n in range(size)]
    assert traced == [True] * 4  # once for all sizes


def _exported(tmp_path, formats):
    """Of a model whose decisions are its outputs, rounded to twentieths."""
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((64,))
    model = keras.Model(x, {"y": keras.layers.Dense(32)(x)})
    rows = np.random.default_rng(0).normal(size=(8, 64)).astype("float32")
    signature = ka.Signature(
        "numbers", lambda model, x: model(x), {"x": ((None, 64), "float32")}, {"x": rows},
        decision=lambda outputs: np.round(outputs["y"] * 20),
    )  # fmt: skip
    return exports.export(model, tmp_path / "out", formats=formats, signatures=[signature])


def test_what_is_rounded_is_measured_and_no_run_ends_by_it(tmp_path, capsys):
    figures = _exported(tmp_path, ["tflite_float16", "tflite_int8"])
    share = figures["model_int8.tflite"]["agreement"]
    assert 0.5 < share < 0.95 and figures["model_float16.tflite"]["agreement"] > 0.98
    (note,) = (line for line in capsys.readouterr().out.splitlines() if "Note" in line)
    assert f"model_int8.tflite decides as the model does for {share:.1%} of the examples" in note


@pytest.mark.parametrize("form", ["tflite_float16", "tflite_int8"])
def test_a_broken_file_is_refused(tmp_path, monkeypatch, form):
    monkeypatch.setattr(
        "keras_attention.export.parity.tflite_runner",
        lambda *args, **kwargs: lambda batch: {"y": np.zeros((8, 32), "float32")},
    )
    with pytest.raises(UserError, match=f"does not compute what the model does.*`{form}`"):
        _exported(tmp_path, [form])


def test_what_is_exact_must_agree(tmp_path, capsys, monkeypatch):
    figures = _exported(tmp_path, ["saved_model"])
    assert figures["saved_model"]["agreement"] == 1.0 and "Note" not in capsys.readouterr().out
    monkeypatch.setattr(
        "keras_attention.export.parity.saved_model_runner",
        lambda signature, loaded: lambda batch: {"y": np.zeros((8, 32), "float32")},
    )
    with pytest.raises(UserError, match="does not compute what the model does.*`saved_model`"):
        _exported(tmp_path, ["saved_model"])
