"""Attention in blocks of queries, for scores that are too large to exist at once."""

import contextlib
import contextvars
import dataclasses
import math

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional.for_tflite import is_for_tflite
from keras_attention.functional.recompute import branch
from keras_attention.functional.shapes import product
from keras_attention.functional.under_xla import is_under_xla

# Bytes of scores: from how many on they are computed in blocks, and how many a block may have.
# Measured (docs/performance.md): smaller blocks are slower, larger ones not faster.
THRESHOLD = 64 * 2**20
BLOCK = 16 * 2**20
_FEWEST_ROWS = 16
# In bands a block has as many queries as half a window and at least these, where they fit: more
# would meet many keys that most of them don't see, and few are slow.
_LEAST_BAND = 128
# Heads go one by one, for more rows at a time in as much memory, which is faster; but not those so
# small that more than so many would make up a block. So do examples where a pair of steps takes so
# many numbers, a hidden layer: blocks of all examples would not fit into the caches.
_MOST_HEADS = 16
_HIDDEN_LAYER = 8
# A head's block is smaller, for the caches, where two are computed at a time.
_PART_OF_A_HEAD = 4

_sizes = contextvars.ContextVar("sizes", default=(THRESHOLD, BLOCK, None))


@contextlib.contextmanager
def query_blocks(threshold=THRESHOLD, block=BLOCK, rows=None):
    """Within this context attention that is traced goes in blocks of queries by these sizes.

    Layers do so by themselves where scores are large; this is for measuring, or for machines with
    much or little memory. Results are the same but for rounding.

    Args:
        threshold: Bytes of scores from which on blocks are used, or `None` for never (and never a
            fused kernel either).
        block: Bytes of scores in a block, at most, but for very many keys: it has at least two
            queries for each feature of a value, under XLA four.
        rows: Positive integer, how many queries each block has, whatever their scores take; `None`
            for as many as `block` allows.

    Raises:
        ValueError: For `rows` that are no positive integer.

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
    """Whether attention that is traced now may go by other ways than as a whole."""
    return _sizes.get()[0] is not None and not is_for_tflite()  # which has no loop over blocks


def walk(blocks, pair_size, is_relative, turns_key):
    """The context of `attend`, whole where scores are small and in blocks where they are large.

    Args:
        blocks: `Blocks` over all queries and keys, of no length yet.
        pair_size, is_relative: As for `attend`.
        turns_key: Whether its `rows` takes `Keys` that are turned.

    Returns:
        The context `(..., T, D_value)`.
    """
    query, keys = blocks.query, blocks.keys

    def of(tensors, seed):
        query, key, value = tensors
        some = dataclasses.replace(keys, key=key, value=value)
        return dataclasses.replace(blocks, query=query, keys=some, seed=seed)

    def whole(tensors, seed):
        return of(tensors, seed).whole()

    tensors = query, keys.key, keys.value
    *lead, steps, _ = ops.shape(query)
    if not lead or 0 in [size for size in [*lead, steps] if isinstance(size, int)]:
        return blocks.whole()
    _, block, rows = _sizes.get()
    length = ops.shape(keys.value)[-2]
    band = _band(keys, lead, length, block, rows) if is_relative else None
    if isinstance(steps, int) and steps <= (rows or _FEWEST_ROWS) and not band:
        return blocks.whole()  # no block is smaller: a step of a decoder, a pooling

    def in_blocks(tensors, seed):
        some = of(tensors, seed)
        if band:
            return dataclasses.replace(some, length=_even(steps, band)).in_bands()
        pieces = some.causal_pieces(rows) if is_relative else [some]
        contexts = [_of_queries(piece, block, rows, pair_size, turns_key) for piece in pieces]
        return contexts[0] if len(contexts) == 1 else ops.concatenate(contexts, axis=-2)

    bytes_of_scores = [*lead, steps, length, 4 * pair_size]
    return when_large(bytes_of_scores, in_blocks, whole, tensors, blocks.seed, blocks.variables)


def _of_queries(blocks, block, rows, pair_size, turns_key):
    """The context in blocks of so many queries or bytes of scores, each over all keys."""
    keys, (*lead, steps, _) = blocks.keys, ops.shape(blocks.query)
    heads_apart = _go_apart(blocks, block, pair_size, turns_key)
    fewest = _FEWEST_ROWS
    if heads_apart:
        lead = []
        block //= 1 if is_under_xla() else _PART_OF_A_HEAD
        fewest //= min(pair_size, 4)  # a row of a hidden layer is work enough
    # So many rows at a time take about as much memory as keys and values themselves do.
    features = keys.value.shape[-1] or 1
    fewest = max(fewest, (4 if is_under_xla() else 2) * features // pair_size)
    bytes_of_row = product([*lead, ops.shape(keys.value)[-2], 4 * pair_size])
    if rows or isinstance(bytes_of_row, int):
        in_block = rows or max(fewest, block // bytes_of_row)
        if not heads_apart and isinstance(steps, int) and in_block >= steps:
            return blocks.whole()
    else:
        in_block = ops.cast(ops.clip(block / bytes_of_row, fewest, 2**30), "int32")
    blocks = dataclasses.replace(blocks, length=_even(steps, in_block))
    return blocks.of_heads(turns_key) if heads_apart else blocks.of_queries(turns_key)


def _even(steps, in_block):
    """Steps in each of as many blocks, of about the same size, so that the last one is no waste."""
    if not (isinstance(steps, int) and isinstance(in_block, int)):
        return in_block
    return math.ceil(steps / math.ceil(steps / in_block))


def _go_apart(blocks, block, pair_size, turns_key):
    """Whether dot products go head by head, or scores with a hidden layer example by example."""
    if keras.backend.backend() != "tensorflow":
        return False
    *lead, steps, _ = blocks.query.shape
    *own, length, _ = blocks.keys.value.shape
    if not (isinstance(steps, int) and isinstance(length, int)):
        return False
    # Keys that a group of heads shares have one for all of the last axis.
    is_alike = own in (lead, [*lead[:-1], 1])
    if not turns_key:
        # Heads may have scores of their own. What is drawn is drawn for all examples. XLA computes
        # a score in one pass over a block, large or small.
        is_hidden_layer = pair_size >= _HIDDEN_LAYER and not is_under_xla()
        is_alike = is_hidden_layer and own == lead and len(lead) == 1 and blocks.seed is None
    parts = keras.tree.flatten(blocks.keys.key)
    is_alike = is_alike and all(list(part.shape[:-1]) == [*own, length] for part in parts)
    return is_alike and 4 * pair_size * steps * length * _MOST_HEADS >= block


def when_large(sizes, sparing, whole, tensors, seed=None, variables=(), only_if=True):
    """What `sparing` computes where the product of sizes, in bytes, is large, else `whole`.

    Args:
        sizes: List of integers or scalar tensors.
        sparing, whole: Functions of `(tensors, seed)` to the same tensor.
        tensors: Structure of tensors, all that is differentiated but variables.
        seed: `SeedGenerator` or `None`.
        variables: List of the variables that both read.
        only_if: Boolean or scalar tensor, a further condition.
    """
    threshold, *_ = _sizes.get()
    total = product(sizes)
    is_small = isinstance(total, int) and total < max(threshold or 0, 1)
    if not is_on() or only_if is False or is_small:
        return whole(tensors, seed)
    if isinstance(total, int) and only_if is True:
        return sparing(tensors, seed)
    if keras.backend.backend() != "tensorflow":
        return whole(tensors, seed)  # a symbolic length: the model is being exported
    seed = None if seed is None else seed.next()  # drawn before the branches part
    is_large = ops.logical_and(total >= max(threshold, 1), only_if)  # blocks of nothing are none
    return branch(is_large, sparing, whole, tensors, seed, list(variables))


def _band(keys, lead, length, block, rows):
    """Queries in a block whose keys are those near them, or `None` for all keys."""
    rule = keys.rule
    if rule is None or rule.window is None:
        return None
    if keys.has_pair_mask:
        return None  # it is as large as what a band would save
    is_given, rows = rows is not None, rows or max(_LEAST_BAND, rule.window // 2)
    if not is_given and all(isinstance(size, int) for size in lead):
        fitting = block // (4 * math.prod(lead) * (rows + rule.halo))
        rows = max(rows // 4, _FEWEST_ROWS, min(rows, fitting))
    seen = rows + rule.halo + rule.num_global
    return None if isinstance(length, int) and seen >= length else rows
