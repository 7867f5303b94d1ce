"""Partly dynamic shapes."""

import numpy as np
import pytest
from keras import ops

from keras_attention.functional.shapes import product, reshape
from tests.backend import needs_tensorflow, to_numpy

X = np.arange(24, dtype="float32").reshape(2, 12)


@pytest.mark.parametrize("sizes", [(2, 3, 4), (4, 6), (24,)])
def test_known_sizes(sizes):
    np.testing.assert_array_equal(
        to_numpy(reshape(ops.convert_to_tensor(X), sizes)), X.reshape(sizes)
    )


@needs_tensorflow
@pytest.mark.parametrize(("columns", "operators"), [(3, 0), (0, 1)])
def test_one_unknown_size_costs_nothing_unless_another_is_zero(columns, operators):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, columns * 4))])
    def split(x):
        return reshape(x, (tf.shape(x)[0], columns, 4))

    x = np.ones((2, columns * 4), "float32")
    assert split(x).shape == (2, columns, 4)
    graph = split.get_concrete_function().graph
    assert sum(node.type == "Pack" for node in graph.get_operations()) == operators


@needs_tensorflow
def test_a_product_is_an_integer_where_it_can_be():
    import tensorflow as tf

    assert product([3, 4, 5]) == 60
    unknown = product([2**20, tf.constant(2**20)])
    assert unknown.dtype == "float32" and float(unknown) == 2**40  # more than an int32 holds
    assert product([3, tf.constant(4)], "int32").dtype == "int32"
