"""Caches."""

import numpy as np

from keras_attention.functional import cache
from tests.backend import to_numpy


def test_write_replaces_the_steps_from_the_index_on():
    buffer = np.zeros((2, 5, 3), "float32")
    update = np.ones((2, 2, 3), "float32")
    written = to_numpy(cache.write(buffer, update, 3, axis=1))
    np.testing.assert_array_equal(written[:, :3], 0)
    np.testing.assert_array_equal(written[:, 3:], 1)


def test_write_keeps_the_dtype_of_the_buffer():
    written = to_numpy(cache.write(np.zeros((2, 5), "bool"), np.ones((2, 1), "int32"), 1, axis=1))
    assert written.dtype == bool
    np.testing.assert_array_equal(written[:, 1], True)
