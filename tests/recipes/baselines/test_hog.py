"""Gradients and colours: what the features are, and what a regression on them tells."""

import types

import numpy as np
import pytest

from recipes.baselines import hog


def stripes(direction, size=32):
    """An image whose brightness changes along a direction, in degrees."""
    v, u = np.mgrid[:size, :size]
    angle = np.radians(direction)
    wave = np.sin(0.8 * (u * np.cos(angle) + v * np.sin(angle)))
    return np.repeat((127 + 120 * wave).astype("uint8")[..., None], 3, axis=-1)


def test_a_gradient_counts_for_its_direction():
    for number in (0, 2, 5, 8):
        blocks = hog._gradients(stripes(20 * number)[None].astype("float32") / 255)
        assert blocks.shape == (1, 7, 7, 36)
        np.testing.assert_allclose((blocks**2).sum(-1), 1, atol=1e-2)
        votes = blocks.reshape(-1, 9).sum(axis=0)
        assert votes.argmax() == number
        near = [(number + step) % 9 for step in (-1, 0, 1)]
        assert votes[near].sum() > 0.9 * votes.sum()


def test_cells_are_means_also_of_sizes_that_do_not_divide():
    values = np.arange(2 * 5 * 9, dtype="float32").reshape(2, 5, 9, 1)
    cells = hog._cells(values, 2)
    expected = values[:, 2:, 4:].mean(axis=(1, 2))
    np.testing.assert_allclose(cells[:, 1, 1], expected, rtol=1e-6)


@pytest.mark.parametrize("size", [16, 33])
def test_as_many_features_for_every_size(size):
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype="uint8")
    found = hog.features(images)
    assert found.shape == (3, 7 * 7 * 36 + 4 * 4 * 3 + 3 * 8) and np.isfinite(found).all()
    np.testing.assert_allclose(found[:, -24:].sum(axis=1), 3, rtol=1e-5)  # of each channel


def test_ridge_tells_directions():
    labels = np.arange(40) % 2
    noise = np.random.default_rng(0)
    images = np.stack([stripes(60 * label + noise.uniform(-9, 9), 16) for label in labels])
    part = types.SimpleNamespace(labels=labels)
    data = types.SimpleNamespace(train=part, validation=part, test=part)
    scores = hog.ridge(dict.fromkeys(("train", "validation", "test"), images), data)
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0}
