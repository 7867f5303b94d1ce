"""Backbones: from where they are loaded, what they must give, and their features on disk."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from recipes.data import captions
from recipes.data.images import prepared
from recipes.kit.errors import UserError
from recipes.parts import backbones


def save(path, *inner, size=(20, 20), **options):
    keras.Sequential([keras.Input((*size, 3)), *inner], **options).save(path)
    return str(path)


@pytest.fixture
def file(tmp_path):
    return save(tmp_path / "own.keras", layers.Conv2D(4, 5, strides=5), layers.BatchNormalization())


def fails(*args):
    with pytest.raises(UserError) as error:
        backbones.load(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_small_sees_each_place_apart():
    backbone = backbones.load("small")
    assert backbone.input_shape == (None, 60, 60, 3)
    assert backbone.output_shape == (None, 5, 5, 64)
    image = np.zeros((1, 60, 60, 3), "float32")
    before = np.array(backbone(image))
    image[0, 13:23, 37:47] = 200  # inside the second row's fourth place
    changed = np.abs(np.array(backbone(image)) - before).max(-1)[0] > 0
    assert np.argwhere(changed).tolist() == [[1, 3]]


def test_file(file):
    backbone = backbones.load(file)
    assert backbone.name == "backbone"
    assert backbone.output_shape == (None, 4, 4, 4)
    assert not backbone.trainable_weights
    backbone = backbones.load(file, trainable=True)
    assert backbone.trainable and len(backbone.trainable_weights) == 2
    # Batch normalization keeps what it has learned, also in training.
    image = np.random.default_rng(0).uniform(0, 255, (2, 20, 20, 3)).astype("float32")
    np.testing.assert_allclose(backbone(image, training=True), backbone(image, training=False))


def test_file_that_takes_any_size(tmp_path):
    path = save(tmp_path / "any.keras", layers.Conv2D(4, 8, strides=8), size=(None, None))
    assert backbones.load(path).output_shape == (None, 20, 20, 4)
    assert backbones.load(path, 32).output_shape == (None, 4, 4, 4)


def test_file_for_another_size(file, tmp_path):
    """Also of a model within the model, as in a file made of `keras.applications`."""
    own, larger = backbones.load(file), backbones.load(file, 40)
    assert larger.output_shape == (None, 8, 8, 4)
    image = np.random.default_rng(0).uniform(0, 255, (1, 20, 20, 3)).astype("float32")
    tiled = np.tile(image, (1, 2, 2, 1))
    np.testing.assert_allclose(np.array(larger(tiled))[:, :4, :4], own(image), rtol=1e-5)
    inner = backbones._from_file(Path(file))
    path = save(tmp_path / "outer.keras", layers.Rescaling(1.0), inner)
    np.testing.assert_allclose(backbones.load(path, 40)(tiled), larger(tiled), rtol=1e-5)


def test_file_for_one_size_alone(tmp_path):
    path = save(tmp_path / "a.keras", layers.Flatten(), layers.Dense(4), layers.Reshape((2, 2, 1)))
    assert "takes images of its own size alone, (None, 20, 20, 3)" in fails(path, 32)


def test_wrong_rank_of_the_output(tmp_path):
    path = save(tmp_path / "flat.keras", layers.Flatten(), layers.Dense(3))
    message = fails(path)
    assert "output is a grid of features (B, rows, columns, features)" in message
    assert "flat.keras gives (None, 3)" in message


@pytest.mark.parametrize("size", [(20, 30), (20,)])
def test_wrong_input(tmp_path, size):
    assert "Expected a --backbone of" in fails(
        save(tmp_path / "a.keras", layers.Dense(2), size=size)
    )


def test_no_file_and_a_broken_one(tmp_path):
    assert "There is no" in fails(str(tmp_path / "none.keras"))
    (tmp_path / "broken.keras").write_bytes(b"rubbish")
    assert "Cannot load --backbone" in fails(str(tmp_path / "broken.keras"))


def test_unknown_application():
    assert "MobileNet" in fails("mobilenet")
    assert "Received: /some/where" in fails("/some/where")


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small"])
def test_applications(monkeypatch, name):
    """With their own preprocessing, but no weights: those would be downloaded."""
    module = backbones._applications()[name]
    original, asked = getattr(module, name), []

    def without_weights(*, weights, **kwargs):
        asked.append(weights)
        return original(weights=None, **kwargs)

    monkeypatch.setattr(module, name, without_weights)
    keras.utils.set_random_seed(0)
    backbone = backbones.load(name, 64)
    assert asked == ["imagenet"]
    assert backbone.input_shape == (None, 64, 64, 3)
    assert backbone.output_shape[:3] == (None, 2, 2)
    image = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    plain = original(weights=None, include_top=False, input_shape=(64, 64, 3))
    prepare = getattr(module, "preprocess_input", lambda image: image)
    expected = plain(prepare(image.copy()), training=False)
    np.testing.assert_allclose(backbone(image), expected, rtol=1e-4, atol=1e-5)


def test_applications_without_network(monkeypatch):
    module = backbones._applications()["MobileNet"]

    def fail(**kwargs):
        raise Exception("URL fetch failure on https://example.com:\nnobody answers")

    monkeypatch.setattr(module, "MobileNet", fail)
    message = fails("MobileNet")
    assert "Cannot load --backbone MobileNet with ImageNet weights: URL fetch failure" in message


def test_applications_with_preprocessing_are_saved_and_loaded(tmp_path):
    """The reversal of colours and the means that VGG and ResNet were trained with."""
    image = keras.Input((8, 8, 3))
    x = keras.applications.resnet.preprocess_input(image)
    model = keras.Model(image, layers.Conv2D(2, 4, strides=4)(x))
    model.save(tmp_path / "model.keras")
    loaded = backbones.load(str(tmp_path / "model.keras"))
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(loaded(pixels), model(pixels), rtol=1e-5)


# ------------------------------------------------------------------------------- the cache


@pytest.fixture
def split():
    return captions.load("toy", seed=0, limit=70).train  # a batch and some more


def test_features_are_those_of_the_backbone(file, split, tmp_path):
    backbone = backbones.load(file)
    features, broken = backbones.cached_features(backbone, split, tmp_path / "cache", "a")
    assert features.shape == (70, 4, 4, 4) and features.dtype == "float16" and broken == []
    images = np.stack(list(split.images(20))).astype("float32")
    np.testing.assert_allclose(features, backbone.predict(images, verbose=0), rtol=2e-3, atol=0.1)
    mirrored, _ = backbones.cached_features(backbone, split, tmp_path / "cache", "a", mirrored=True)
    expected = backbone.predict(images[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(mirrored, expected, rtol=2e-3, atol=0.1)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_features_are_computed_once_for_a_key(file, split, tmp_path, monkeypatch):
    backbone = backbones.load(file)
    first = np.array(backbones.cached_features(backbone, split, tmp_path, "a")[0])
    with monkeypatch.context() as patch:
        patch.setattr(backbones, "_extract", None)
        again, _ = backbones.cached_features(backbone, split, tmp_path, "a")
        np.testing.assert_array_equal(again, first)
        with pytest.raises(TypeError):
            backbones.cached_features(backbone, split, tmp_path, "b")
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(path.read_bytes()[:500])  # as a full disk leaves it
    again, _ = backbones.cached_features(backbone, split, tmp_path, "a")
    np.testing.assert_array_equal(again, first)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".keras", ".npy"]


class _WithBroken:
    def __init__(self, split):
        self._split = split

    def read(self, names):
        for name, content in self._split.source.read(names):
            yield name, (b"broken" if name == names[3] else content)


def test_broken_images_are_known_from_the_cache_too(file, split, tmp_path):
    split = captions.Split(split.names, split.captions, source=_WithBroken(split))
    backbone = backbones.load(file)
    for _ in range(2):
        features, broken = backbones.cached_features(backbone, split, tmp_path, "a")
        assert [image.name for image in broken] == [split.names[3]]
        assert not features[3].any() and features[4].any()
    images, again = prepared(split, 20)
    assert again == broken and not images[3].any()
    (record,) = tmp_path.glob("*.json")
    assert json.loads(record.read_text())[0]["name"] == split.names[3]


def test_a_cache_that_cannot_be_written(file, split, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="Cannot write the features to --cache"):
        backbones.cached_features(backbones.load(file), split, tmp_path / "cache", "a")


def test_fingerprint_changes_with_the_weights(file):
    backbone = backbones.load(file)
    before = backbones.fingerprint(backbone)
    assert backbones.fingerprint(backbones.load(file)) == before
    backbone.set_weights([weight + 1 for weight in backbone.get_weights()])
    assert backbones.fingerprint(backbone) != before
