"""Pretrained encoders from a folder."""

import keras
import numpy as np
import pytest

from recipes.kit.errors import UserError
from recipes.parts import pretrained
from tests.backend import to_numpy
from tests.recipes.parts import tiny_presets

CLS, SEP = map(tiny_presets.PIECES.index, ("[CLS]", "[SEP]"))
IDS = np.array([[9, 10, 14, 6], [9, 11, 0, 0], [0, 0, 0, 0]], "int32")


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def saved(request, tmp_path_factory):
    """A folder, and the backbone that was saved there."""
    folder = tmp_path_factory.mktemp("presets") / request.param
    return folder, getattr(tiny_presets, f"save_{request.param}")(folder)


@pytest.fixture(scope="module")
def encoder(saved):
    return pretrained.load(saved[0])[0]


def test_features_are_those_of_the_backbone_between_start_and_end(saved, encoder):
    _, backbone = saved
    features = to_numpy(encoder(IDS))
    for row, expected_length in zip(range(3), (4, 2, 0), strict=True):
        tokens = np.array([[CLS, *IDS[row, :expected_length], SEP]], "int32")
        given = {"token_ids": tokens, "padding_mask": np.ones_like(tokens)}
        if "segment_ids" in {tensor.name for tensor in backbone.inputs}:
            given["segment_ids"] = np.zeros_like(tokens)
        outputs = backbone(given)
        outputs = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
        np.testing.assert_allclose(
            features[row, :expected_length], to_numpy(outputs)[0, 1:-1], atol=1e-5
        )
    np.testing.assert_array_equal(features[IDS == 0], 0)


def test_sentences_of_documents_are_read_one_by_one(encoder):
    grid = np.stack([IDS, IDS[::-1]])
    expected = to_numpy(encoder(IDS))
    np.testing.assert_allclose(to_numpy(encoder(grid))[1], expected[::-1], atol=1e-6)
    assert encoder(keras.Input((None, 4), dtype="int32")).shape == (None, None, 4, 8)


def test_frozen_it_has_no_dropout_in_training_either(saved):
    encoder, _ = pretrained.load(saved[0])
    rest = to_numpy(encoder(IDS, training=False))
    assert not np.allclose(to_numpy(encoder(IDS, training=True)), rest)
    encoder.trainable = False
    np.testing.assert_array_equal(to_numpy(encoder(IDS, training=True)), rest)


def test_saved_and_loaded(saved, encoder, tmp_path):
    ids = keras.Input((None,), dtype="int32")
    keras.Model(ids, encoder(ids)).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(IDS)), to_numpy(encoder(IDS)), atol=1e-6)


def test_cached_features_are_those_of_the_encoder(encoder):
    rng = np.random.default_rng(0)
    texts = [rng.integers(6, 18, size).astype("int32") for size in (5, 0, 30, 1, 7, 7)]
    features = pretrained.cached(encoder, texts, batch_steps=40)
    assert [x.shape for x in features] == [(len(text), 8) for text in texts]
    for x, text in zip(features, texts, strict=True):
        if len(text):
            np.testing.assert_allclose(x, to_numpy(encoder(text[None]))[0], atol=2e-3)
    batches = pretrained.FeatureBatches(
        texts, np.arange(6), 2, features=features, names_own_class=None
    )
    seen = {}
    for index in range(len(batches)):
        inputs, labels = batches[index]
        assert inputs["features"].shape == (*inputs["ids"].shape, 8)
        for label, ids, x in zip(labels, inputs["ids"], inputs["features"], strict=True):
            seen[label] = (ids[ids > 0].tolist(), x[ids > 0], x[ids == 0])
    for label, (ids, x, padding) in seen.items():
        assert ids == texts[label].tolist() and not padding.any()
        np.testing.assert_array_equal(x, features[label].astype("float32"))
    assert len(seen) == 6


def test_the_pieces_are_those_of_the_folder(saved):
    assert pretrained.load(saved[0])[1] == tiny_presets.PIECES


def test_other_folders_are_one_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read the encoder in --encoder .*empty: expected"):
        (tmp_path / "empty").mkdir()
        pretrained.load(tmp_path / "empty")
    tiny_presets.save_roberta(tmp_path / "roberta")
    with pytest.raises(UserError, match="needs a model with word pieces.*RobertaTokenizer"):
        pretrained.load(tmp_path / "roberta")
    tiny_presets.save_bert(tmp_path / "moved", [*tiny_presets.PIECES[1:], "[PAD]"])
    with pytest.raises(UserError, match=r"\[PAD\] as its first word piece.*\[unused\], \[UNK\]"):
        pretrained.load(tmp_path / "moved")


def test_without_keras_hub(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(UserError, match="needs KerasHub: pip install"):
        pretrained.load("anywhere")
