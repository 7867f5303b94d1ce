"""Parts of networks that see images: patches are whitened, grids halved, branches weighed."""

import keras
import numpy as np

import keras_attention as ka
from recipes.data.toy import marks
from recipes.parts import image_networks

IMAGES = np.stack([row.image for row in marks.generate(40, seed=1)])


def test_whitened_patches_do_not_correlate():
    image = keras.Input((32, 32, 3), dtype="uint8")
    standardized = image_networks.standardized(image, IMAGES)
    whitened = image_networks.whitened(standardized, IMAGES)
    values, outputs = keras.Model(image, [standardized, whitened]).predict(IMAGES, verbose=0)
    np.testing.assert_allclose(values.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=(0, 1, 2)), 1, atol=1e-4)
    assert outputs.shape == (40, 32, 32, 24) and outputs.min() == 0
    responses = (outputs[..., :12] - outputs[..., 12:])[:, :-1, :-1].reshape(-1, 12)
    covariance = np.cov(responses, rowvar=False)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance - np.diag(variances), 0, atol=2e-3)
    assert variances.max() < 1.001 and np.median(variances) > 0.8


def test_whitening_is_not_trained():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, image_networks.whitened(image, IMAGES))
    assert len(model.weights) == 1 and not model.trainable_weights
    expected = image_networks.patch_filters(IMAGES)
    np.testing.assert_array_equal(model.weights[0], expected)
    np.testing.assert_array_equal(expected[..., :12], -expected[..., 12:])


def test_images_of_one_colour_give_finite_filters():
    assert np.isfinite(image_networks.patch_filters(np.full((3, 8, 8, 3), 7, "uint8"))).all()


def test_a_stage_adds_what_the_attention_leaves():
    x = keras.Input((8, 8, 3))
    attention = ka.ConvBlockAttention(reduction_ratio=2, name="attention")
    y, weights = image_networks.residual_stage(x, 4, "stage", attention)
    down, found = (f"stage_{name}_relu" for name in ("down", "residual"))
    layers = {name: keras.Model(x, y).get_layer(name).output for name in (down, found)}
    model = keras.Model(x, {"output": y, "weights": weights, **layers})
    outputs = model.predict(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), verbose=0)
    assert outputs["output"].shape == (2, 4, 4, 4) and outputs["weights"].shape == (2, 4, 4)
    weighed = outputs["output"] - outputs[down]
    np.testing.assert_allclose(weighed, attention(outputs[found]), atol=1e-5)
    _, plain = image_networks.residual_stage(x, 4, "plain")
    assert plain is None
