"""functional.average."""

import numpy as np
import pytest
from keras import ops

from keras_attention.functional.average import average, grouped_matmul
from tests.backend import to_numpy

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(2, 3, 7, 5)).astype("float32")


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 1, 5, 4)], ids=["alike", "one for a group"])
def test_is_a_product_with_the_values_of_the_group(shape):
    value = RNG.normal(size=shape).astype("float32")
    context = average(ops.convert_to_tensor(ROWS), ops.convert_to_tensor(value))
    np.testing.assert_allclose(to_numpy(context), ROWS @ value, atol=1e-5)


def test_a_group_is_one_product_of_more_rows():
    shapes = []

    def matmul(rows, shared):
        shapes.append((tuple(rows.shape), tuple(shared.shape)))
        return ops.matmul(rows, shared)

    shared = RNG.normal(size=(2, 1, 5, 4)).astype("float32")
    grouped_matmul(matmul, ops.convert_to_tensor(ROWS), ops.convert_to_tensor(shared))
    assert shapes == [((2, 21, 5), (2, 5, 4))]
