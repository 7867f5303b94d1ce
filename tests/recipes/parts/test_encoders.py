"""Classifiers of texts and documents over each encoder."""

import types

import keras
import numpy as np
import pytest

import keras_attention as ka
from recipes.kit.errors import UserError
from recipes.parts import encoders
from recipes.text import sentences
from tests.backend import to_numpy
from tests.recipes.parts import tiny_presets

PIECES = tiny_presets.PIECES
NAMES = ("gru", "cnn", "transformer", "pretrained")
RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(9, 18, size).astype("int32") for size in (7, 3, 1, 12)]
DOT = PIECES.index(".")
DOCUMENT = np.array([9, 10, DOT, 12, 13, 14, DOT, 15], "int32")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "bert"
    tiny_presets.save_bert(folder)
    return str(folder)


@pytest.fixture(scope="module", params=NAMES)
def made(request, preset):
    """The config, the texts and the models of an encoder, of texts and of documents."""
    name = request.param
    config = types.SimpleNamespace(
        encoder=preset if name == "pretrained" else name,
        units=4, dropout=0.5, context_dropout=0.3, seed=0, fine_tune=True, max_words=5,
    )  # fmt: skip
    folder = preset if name == "pretrained" else None
    texts = encoders.Texts(PIECES, {}, 3, folder)
    models = encoders.build_model(config, texts), encoders.build_documents_model(config, texts)
    return types.SimpleNamespace(name=name, config=config, texts=texts, models=models)


def padded(texts, width=15):
    ids = np.zeros((len(texts), width), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return ids


def outputs_of(model, ids):
    return {name: to_numpy(x) for name, x in model(ids).items()}


def test_a_text_stands_alone_and_weights_sum_to_one(made):
    (_, model), _ = made.models
    together = outputs_of(model, padded([*TEXTS, []]))
    for row, text in enumerate(TEXTS):
        alone = outputs_of(model, text[None])
        for name, x in alone.items():
            np.testing.assert_allclose(
                together[name][row][: len(x[0])], x[0], atol=1e-5, err_msg=name
            )
        np.testing.assert_allclose(alone["weights"].sum(), 1, atol=1e-5)
        assert not together["weights"][row, len(text) :].any()
    assert np.isfinite(together["probability"]).all()
    assert not together["weights"][-1].any()  # no text


def test_what_is_trained_is_what_is_used(made):
    split = sentences.split(DOCUMENT, sentences.kinds_of(PIECES), 5)
    grid = sentences.grid([split], 5, gap=0)
    for (training, model), given, ids in zip(
        made.models, (padded(TEXTS), grid), (padded(TEXTS), DOCUMENT[None]), strict=True
    ):
        np.testing.assert_allclose(
            to_numpy(training(given)), outputs_of(model, ids)["probability"], atol=1e-6
        )


def test_weights_of_a_document_sum_to_one_at_both_levels(made):
    _, (_, model) = made.models
    one = outputs_of(model, DOCUMENT[None])
    assert one["grid"].shape == one["words"].shape == (1, 3, 5)
    np.testing.assert_array_equal(one["grid"][one["grid"] > 0], DOCUMENT)
    np.testing.assert_allclose(one["words"].sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(one["sentences"].sum(-1), 1, atol=1e-5)
    two = outputs_of(model, padded([DOCUMENT, DOCUMENT[:2]]))
    np.testing.assert_allclose(two["probability"][0], one["probability"][0], atol=1e-5)
    assert not two["sentences"][1, 1:].any()


def test_the_baseline_is_mean_pooling(made):
    """With the weights of the attention's network and equal ones over steps."""
    (_, model), (_, hierarchy) = (
        build(made.config, made.texts, "mean")
        for build in (encoders.build_model, encoders.build_documents_model)
    )
    weights = outputs_of(model, padded(TEXTS))["weights"]
    for row, text in zip(weights, TEXTS, strict=True):
        np.testing.assert_allclose(row[: len(text)], 1 / len(text), rtol=1e-5)
    weights = outputs_of(hierarchy, DOCUMENT[None])
    np.testing.assert_allclose(weights["sentences"], 1 / 3, rtol=1e-5)
    np.testing.assert_allclose(weights["words"][0, 1], [1 / 4] * 4 + [0], rtol=1e-5)


def test_a_network_learns_which_piece_decides(preset):
    """Whether a text has `good`, which its weight then tells."""
    config = types.SimpleNamespace(encoder="cnn", units=4, dropout=0.1, context_dropout=0, seed=0)
    good = PIECES.index("good")
    ids = np.stack([RNG.permutation(9) + 9 for _ in range(64)]).astype("int32")
    labels = np.arange(64) % 2
    ids[labels == 0] = np.where(ids[labels == 0] == good, 9, ids[labels == 0])
    training, model = encoders.build_model(config, encoders.Texts(PIECES, {}, 2))
    training.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    training.fit(ids, labels, epochs=20, verbose=0)
    outputs = outputs_of(model, ids)
    assert (outputs["probability"].argmax(1) == labels).mean() > 0.95
    near = np.abs(outputs["weights"].argmax(1) - (ids == good).argmax(1)) <= encoders.KERNEL // 2
    assert near[labels == 1].mean() > 0.8


def test_the_layers_are_the_librarys(made):
    (_, model), (_, hierarchy) = made.models
    pooling = ka.ConvAttentionPooling if made.name == "cnn" else ka.AttentionPooling
    assert type(model.get_layer("attention")) is pooling
    assert type(hierarchy.get_layer("attention")) is ka.HierarchicalAttention


def test_what_a_pretrained_encoder_cannot_read_has_no_weight(preset):
    config = types.SimpleNamespace(
        encoder=preset, units=4, dropout=0.5, context_dropout=0.3, seed=0, fine_tune=False
    )
    _, model = encoders.build_model(config, encoders.Texts(PIECES, {}, 3, preset))
    long = RNG.integers(9, 18, (1, 40)).astype("int32")  # it reads 30
    outputs = outputs_of(model, long)
    np.testing.assert_allclose(outputs["weights"][0, :30].sum(), 1, atol=1e-5)
    assert outputs["weights"].shape == (1, 40) and not outputs["weights"][0, 30:].any()
    np.testing.assert_allclose(
        outputs["probability"], outputs_of(model, long[:, :30])["probability"], atol=1e-6
    )


def test_sentences_longer_than_the_encoder_reads_are_refused(preset):
    config = types.SimpleNamespace(encoder=preset, max_words=31)
    data = types.SimpleNamespace(train=types.SimpleNamespace(texts=["it was good"]))
    with pytest.raises(UserError, match="--max-words must be at most 30.*Received: 31"):
        encoders.read_documents(config, data)


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_every_weight_that_is_trained_has_a_gradient(made, pooling):
    """Else Keras warns, which is an error here."""
    training, _ = encoders.build_model(made.config, made.texts, pooling)
    training.compile("sgd", "sparse_categorical_crossentropy")
    training.train_on_batch(padded(TEXTS), np.arange(4) % 3)
