"""When attention is computed in blocks, and in blocks of how many queries."""

import contextlib
import contextvars
import math
from collections.abc import Iterator

import keras
from keras import ops

from keras_attention import checks, target
from keras_attention.functional.shapes import product
from keras_attention.memory import loops_tensorflow

# Size in bytes above which scores are computed in blocks, and the size of one block. Measured
# (docs/performance.md): smaller blocks are slower, larger ones not faster.
THRESHOLD = 64 * 2**20
BLOCK = 16 * 2**20
FEWEST_ROWS = 16
# In bands a block has as many queries as half a window and at least these, where they fit: more
# would meet many keys that most of them don't see, and few are slow.
_LEAST_BAND = 128
# Head by head, a block has more rows in as much memory, which is faster; but not where heads are
# so small that more than so many would make up a block. Likewise example by example, where a pair
# of steps takes so many numbers, a hidden layer: blocks of all examples would not fit the caches.
_MOST_HEADS = 16
_HIDDEN_LAYER = 8
# A head's block is smaller, for the caches, where two are computed at a time.
_PART_OF_A_HEAD = 4

_sizes: contextvars.ContextVar[tuple[int | None, int, int | None]] = contextvars.ContextVar(
    "sizes", default=(THRESHOLD, BLOCK, None)
)


@contextlib.contextmanager
def query_blocks(
    threshold: int | None = THRESHOLD, block: int = BLOCK, rows: int | None = None
) -> Iterator[None]:
    """Within this context attention that is traced is computed in blocks of these sizes.

    Layers do so by themselves where scores are large; this is for measuring, or for machines with
    much or little memory. Results are the same but for rounding.

    Args:
        threshold: Size in bytes above which scores are computed in blocks; `None` for never, and
            never by a fused kernel either.
        block: Size in bytes of one block of scores, at most. For very many keys it may be larger:
            a block has at least two queries for each feature of a value, under XLA four.
        rows: Positive integer, the queries in each block, whatever the size of their scores;
            `None` for as many as `block` allows.

    Raises:
        ValueError: If `rows` is neither a positive integer nor `None`.

    Example:
        >>> x = keras.ops.ones((1, 64, 8))
        >>> layer = ka.SelfAttention()
        >>> whole = layer(x)
        >>> with ka.query_blocks(threshold=0, block=4096):
        ...     blocked = layer(x)
        >>> bool(keras.ops.all(keras.ops.isclose(whole, blocked)))
        True
    """
    rows = checks.positive_integer("rows", rows, optional=True)
    token = _sizes.set((threshold, block, rows))
    try:
        yield
    finally:
        _sizes.reset(token)


def is_on():
    """Whether attention that is traced now may be computed in blocks or by a fused kernel."""
    return _sizes.get()[0] is not None and not target.is_for_tflite()  # which has no loop


def is_small(size):
    """Whether a size is known to be too small for blocks while tracing.

    Args:
        size: List of integers and scalar tensors, whose product is the size in bytes.
    """
    if not is_on():
        return True
    if all(isinstance(x, int) for x in size):
        return math.prod(size) < max(_sizes.get()[0], 1)  # there are no blocks of nothing
    return not target.is_tensorflow()  # a symbolic length: the model is being exported


def if_large(size, large, small, tensors, seed=None, variables=(), condition=True):
    """`large(tensors, seed)` where the size in bytes is large, else `small(tensors, seed)`.

    Args:
        size: As for `is_small`.
        large, small: Functions of `(tensors, seed)` to the same tensor.
        tensors: Structure of tensors, all that is differentiated but variables.
        seed: `SeedGenerator` or `None`.
        variables: The variables that both read.
        condition: Boolean or scalar tensor, a further condition of `large`.
    """
    if is_small(size) or condition is False:
        return small(tensors, seed)
    size = product(size)
    if isinstance(size, int) and condition is True:
        return large(tensors, seed)
    if not target.is_tensorflow():
        return small(tensors, seed)
    seed = None if seed is None else seed.next()  # drawn before the branches part
    is_large = ops.logical_and(size >= max(_sizes.get()[0], 1), condition)
    return loops_tensorflow.branch(is_large, large, small, tensors, seed, list(variables))


def is_one_block(steps):
    """Whether so many queries are one block of any size: a step of a decoder, a pooling."""
    return isinstance(steps, int) and steps <= (_sizes.get()[2] or FEWEST_ROWS)


def rows_of_pieces():
    """The fewest queries of a causal piece that `query_blocks(rows=...)` asks for, or `None`."""
    return _sizes.get()[2]


def is_by_head(attention):
    """Whether dot products are computed head by head, or a hidden layer example by example."""
    if not target.is_tensorflow():
        return False
    pair_size, (*lead, steps, _) = attention.steps.pair_size, attention.query.shape
    *own, length, _ = attention.keys.value.shape
    if not (isinstance(steps, int) and isinstance(length, int)):
        return False
    if attention.steps.dot_scale is not None:
        # Keys that a group of heads shares have a last axis of 1.
        is_alike = own in (lead, [*lead[:-1], 1])
    else:
        # Heads may have scores of their own. Random numbers are drawn for all examples. XLA
        # computes a score in one pass over a block, large or small.
        is_hidden_layer = pair_size >= _HIDDEN_LAYER and not target.is_under_xla()
        is_alike = is_hidden_layer and own == lead and len(lead) == 1 and attention.seed is None
    parts = keras.tree.flatten(attention.keys.key)
    is_alike = is_alike and all(list(part.shape[:-1]) == [*own, length] for part in parts)
    return is_alike and 4 * pair_size * steps * length * _MOST_HEADS >= _sizes.get()[1]


def rows_of_block(attention, by_head):
    """The queries in a block that meets all keys: an integer, or a scalar tensor."""
    _, block, rows = _sizes.get()
    *lead, _, _ = ops.shape(attention.query)
    pair_size, value, fewest = attention.steps.pair_size, attention.keys.value, FEWEST_ROWS
    if by_head:
        lead = []
        block //= 1 if target.is_under_xla() else _PART_OF_A_HEAD
        fewest //= min(pair_size, 4)  # a row of a hidden layer is work enough
    # So many rows at a time take about as much memory as keys and values themselves do.
    features = value.shape[-1] or 1
    fewest = max(fewest, (4 if target.is_under_xla() else 2) * features // pair_size)
    bytes_of_row = product([*lead, ops.shape(value)[-2], 4 * pair_size])
    if rows or isinstance(bytes_of_row, int):
        return rows or max(fewest, block // bytes_of_row)
    return ops.cast(ops.clip(block / bytes_of_row, fewest, 2**30), "int32")


def rows_of_band(attention):
    """The queries in a block that meets the keys near it alone, or `None` for all keys."""
    _, block, given = _sizes.get()
    keys, rule = attention.keys, attention.keys.rule
    if rule is None or rule.window is None or not attention.steps.is_relative:
        return None
    if keys.has_pair_mask:
        return None  # it is as large as the memory that a band would save
    rows = given or max(_LEAST_BAND, rule.window // 2)
    lead, length = attention.query.shape[:-2], keys.value.shape[-2]
    if given is None and all(isinstance(size, int) for size in lead):
        fitting = block // (4 * math.prod(lead) * (rows + rule.halo))
        rows = max(rows // 4, FEWEST_ROWS, min(rows, fitting))
    met = rows + rule.halo + rule.num_global
    return None if isinstance(length, int) and met >= length else rows


def evenly(steps, rows):
    """The queries in each of as many blocks, all of about the same size: no padding is wasted."""
    if not (isinstance(steps, int) and isinstance(rows, int)):
        return rows
    return math.ceil(steps / math.ceil(steps / rows))
