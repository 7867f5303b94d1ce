"""Partly dynamic shapes."""

import math

from keras import ops

from keras_attention.target import has_sizes_of_its_own


def known_size(x, axis):
    """The size of an axis as an integer, `None` where it is dynamic.

    A dynamic size is `None`, on JAX a symbol that cannot be compared, on PyTorch any number.
    """
    size = x.shape[axis]
    return size if isinstance(size, int) and has_sizes_of_its_own(x) else None


def reshape(x, sizes):
    """`ops.reshape`, where one size may be a tensor at no cost.

    A graph computes a shape with a tensor in it in four operations, each time; if a single size is
    unknown, it follows from the others.
    """
    is_known = [isinstance(size, int) for size in sizes]
    if is_known.count(False) == 1 and all(size for size in sizes if isinstance(size, int)):
        sizes = [size if known else -1 for size, known in zip(sizes, is_known, strict=True)]
    return ops.reshape(x, sizes)


def product(sizes, dtype="float32"):
    """The product: an integer, or for dynamic sizes a tensor, of a dtype that holds it."""
    if all(isinstance(size, int) for size in sizes):
        return math.prod(sizes)
    return math.prod(x if isinstance(x, int) else ops.cast(x, dtype) for x in sizes)
