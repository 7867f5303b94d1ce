"""Parts of a U-Net, and the network that the recipe makes of them."""

import itertools

import keras
import numpy as np
import pytest

from recipes import image_segmentation as recipe
from recipes.parts import segmented, segmenter, unet


def test_the_loss_is_cross_entropy_plus_soft_dice():
    rng = np.random.default_rng(0)
    y, logits = rng.random((3, 4, 5)) > 0.6, rng.normal(size=(3, 4, 5))
    y[1] = False
    expected = []
    for wanted, row in zip(y, logits, strict=True):
        p = 1 / (1 + np.exp(-row))
        entropy = -np.mean(np.where(wanted, np.log(p), np.log(1 - p)))
        dice = (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
        expected.append(entropy + 1 - dice)
    loss = unet.MaskLoss()
    np.testing.assert_allclose(loss(y, logits), np.mean(expected), rtol=1e-5)
    certain = np.where(y, 1e4, -1e4)
    assert 0 <= float(loss(y, certain)) < 1e-6 and np.isfinite(float(loss(y, -certain)))


def small(attention="gates", **options):
    config = recipe.Config(**{"width": 4, "levels": 3, **options})
    return config, *recipe.build_model(config, attention)


def test_the_penalty_is_in_the_loss_of_training_alone():
    _, model, training = small(penalty=0.5)
    x = np.random.default_rng(0).normal(size=(2, 16, 8, 3)).astype("float32")
    training(x)
    gates = model(x)
    means = [np.mean(gates[name]) for name in ("gate_1", "gate_2")]
    np.testing.assert_allclose(sum(training.losses), 0.5 * np.mean(means), rtol=1e-4)
    assert not model.losses
    assert [gates[f"gate_{n}"].shape for n in (1, 2)] == [(2, 16, 8), (2, 8, 4)]


@pytest.mark.parametrize("attention", recipe.ATTENTIONS)
def test_it_learns(attention):
    keras.utils.set_random_seed(0)
    config, model, training = small(attention, levels=2, learning_rate=0.02, dropout=0.0)
    recipe.compile_model(config, training, range(20))
    rng = np.random.default_rng(0)
    y = np.kron(rng.random((4, 4, 4)) > 0.5, np.ones((1, 4, 4)))
    x = np.repeat((rng.normal(0, 0.3, y.shape) + 2 * y)[..., None], 3, -1).astype("float32")
    losses = [float(training.train_on_batch(x, y)) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert ("gate_1" in model.output) == (attention == "gates")


def test_images_of_any_size_end_with_their_edge():
    _, model, _ = small()
    image = np.random.default_rng(0).integers(0, 255, (1, 13, 9, 3)).astype("uint8")
    assert segmenter.unit_of(model) == 4
    found = segmenter.segment(model, image)
    assert found["probability"].shape == (1, 13, 9)
    # The same with the edge repeated by hand, and the statistics of the image itself.
    padded = np.pad(image, [(0, 0), (0, 3), (0, 3), (0, 0)], "edge")
    pixels = image.astype("float32")
    statistics = pixels.mean()[None], pixels.std()[None]
    whole = segmenter.segment(model, padded, *statistics)
    np.testing.assert_allclose(
        found["probability"], whole["probability"][:, :13, :9], rtol=1e-4, atol=1e-6
    )


def test_each_pixel_is_decided_by_one_tile_away_from_its_edge():
    for length in (1, 64, 127, 128, 129, 500, 1000):
        parts = segmented.spans(length, 128)
        assert parts[0][1] == 0 and parts[-1][0] + 128 >= length
        for (_, _, end), (start, first, last) in itertools.pairwise(parts):
            assert first == end and first >= start + 32 and last <= start + 128
        assert all(start % 64 == 0 for start, *_ in parts)
