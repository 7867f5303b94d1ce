"""Bilinear resampling of grids."""

import numpy as np
import pytest

from keras_attention.functional import resample
from tests.backend import needs_tensorflow, to_numpy


@needs_tensorflow
@pytest.mark.parametrize("size", [(4, 6), (8, 3), (5, 7), (1, 2), (12, 18)])
def test_the_same_as_tensorflow_s(size):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    found, mask = resample.bilinear(x, size)
    assert mask is None
    np.testing.assert_allclose(found, tf.image.resize(x, size), rtol=1e-4, atol=1e-6)


def test_masked_positions_have_no_part():
    x = np.array([1.0, 2.0, np.nan, np.nan], "float32")[None, :, None, None]
    mask = np.array([True, True, False, False])[None, :, None]
    found, seen = resample.bilinear(x, (12, 1), mask)
    # Rows at -1/3, 0, 1/3, 2/3, 1, 4/3, 5/3: the last two see the second row alone.
    expected = [1, 1, 4 / 3, 5 / 3, 2, 2, 2, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(to_numpy(found).ravel(), expected, rtol=1e-6)
    np.testing.assert_array_equal(to_numpy(seen).ravel(), np.arange(12) < 7)
    fewer, seen = resample.bilinear(x, (2, 1), mask)
    np.testing.assert_allclose(to_numpy(fewer).ravel(), [1.5, 0], rtol=1e-6)
    np.testing.assert_array_equal(to_numpy(seen).ravel(), [True, False])


def test_half_precision_is_widened():
    found, _ = resample.bilinear(np.ones((1, 2, 2, 1), "float16"), (4, 4))
    assert to_numpy(found).dtype == "float32"
