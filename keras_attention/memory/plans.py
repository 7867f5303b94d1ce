"""Plans: an attention with large scores as a loop over blocks of its queries.

Axes beside those of the package: N blocks of L queries each; bands of L + halo keys.
"""

import dataclasses
import functools
import itertools

import keras
from keras import ops

from keras_attention import target
from keras_attention.functional.attention import Keys
from keras_attention.functional.average import grouped_matmul
from keras_attention.functional.masks import combine
from keras_attention.functional.shapes import product
from keras_attention.memory import loops_keras, loops_tensorflow, policy
from keras_attention.memory.parts import Bands, BlockSeed, Gathered, to_front

# Of causal attention: the most pieces, and the fewest queries in one.
_MOST_PIECES = 4
_LEAST_PIECE = 256


def context(attention):
    """The context `(..., T, D_value)` in blocks, or `None` where the scores are known to be small.

    Where a size is unknown until run time, the graph holds both and chooses at run time.
    """
    keys, (*lead, steps, _) = attention.keys, ops.shape(attention.query)
    if not lead or 0 in [size for size in (*lead, steps) if isinstance(size, int)]:
        return None
    band = policy.rows_of_band(attention)
    if band is None and policy.is_one_block(steps):
        return None
    size = [*lead, steps, ops.shape(keys.value)[-2], 4 * attention.steps.pair_size]
    if policy.is_small(size):
        return None

    def of(tensors, seed):
        query, key, value = tensors
        some = dataclasses.replace(keys, key=key, value=value)
        return dataclasses.replace(attention, query=query, keys=some, seed=seed)

    return policy.if_large(
        size,
        lambda tensors, seed: _in_blocks(of(tensors, seed), band),
        lambda tensors, seed: of(tensors, seed).context(),
        (attention.query, keys.key, keys.value),
        attention.seed,
        attention.steps.variables,
    )


def _in_blocks(attention, band):
    """The context by the plan that fits; `band` is the queries in a block of a band, or `None`."""
    if band is not None:
        length = policy.evenly(ops.shape(attention.query)[-2], band)
        return in_bands(attention, length)
    contexts = [_of_piece(piece) for piece in causal_pieces(attention)]
    return contexts[0] if len(contexts) == 1 else ops.concatenate(contexts, axis=-2)


def _of_piece(attention):
    """The context in blocks that meet all keys."""
    steps, by_head = ops.shape(attention.query)[-2], policy.is_by_head(attention)
    rows = policy.rows_of_block(attention, by_head)
    if not by_head and isinstance(steps, int) and isinstance(rows, int) and rows >= steps:
        return attention.context()
    plan = split_by_head if by_head else split_by_query
    return plan(_with_transposed_keys(attention), policy.evenly(steps, rows))


def causal_pieces(attention):
    """Attentions of some queries each, with no keys but those that their last one may see.

    One attention of all where the rule is not causal, or a length is unknown until run time.
    """
    keys, start = attention.keys, attention.start
    steps, length = ops.shape(attention.query)[-2], ops.shape(keys.value)[-2]
    is_known = all(isinstance(x, int) for x in (steps, length, start))
    count = min(_MOST_PIECES, steps // (policy.rows_of_pieces() or _LEAST_PIECE)) if is_known else 0
    is_causal = keys.rule is not None and keys.rule.is_causal and attention.steps.is_relative
    if not is_causal or count < 2:
        return [attention]
    seed = None if attention.seed is None else attention.seed.next()

    def piece(first, stop):
        end = min(max(start + stop, 1), length)  # softmax needs a key
        mask, query_mask = keys.mask, attention.query_mask
        if keys.has_pair_mask:
            mask = mask[..., first:stop, :]
        if mask is not None and mask.shape[-1] != 1:
            mask = mask[..., :end]
        if query_mask is not None:
            query_mask = query_mask[..., first:stop, :]  # (..., stop - first, 1)
        segments, of_keys = attention.segments, keys.segments
        if segments is not None:
            segments, of_keys = segments[..., first:stop, :], of_keys[..., :end]
        key, value = keras.tree.map_structure(lambda x: x[..., :end, :], (keys.key, keys.value))
        return dataclasses.replace(
            attention,
            query=attention.query[..., first:stop, :],
            keys=Keys(key, value, mask, keys.rule, segments=of_keys),
            start=start + first,
            query_mask=query_mask,
            segments=segments,
            seed=None if seed is None else BlockSeed(seed, first),
        )

    bounds = [steps * n // count for n in range(count + 1)]
    return [piece(*pair) for pair in itertools.pairwise(bounds)]


def split_by_query(attention, length):
    """The context `(..., T, D_value)`, `length` queries of all heads at a time, over all keys."""
    keys, queries = attention.keys, _Queries(attention, length)
    blocks = {"mask": queries.split(keys.mask)} if keys.has_pair_mask else {}  # (N, ..., L, S)
    blocks |= queries.blocks()
    shared = _for_all_blocks((keys.key, keys.value))  # (1, ..., S, _)

    def keys_of(block, shared):
        key, value = shared  # (..., S, _)
        mask = block.get("mask", keys.mask)
        return dataclasses.replace(keys, key=key, value=value, mask=mask)

    return queries.join(_map_blocks(attention, keys_of, blocks, shared))


def split_by_head(attention, length):
    """The context `(..., T, D_value)`, `length` queries of one head (or example) at a time."""
    keys, queries = attention.keys, _Queries(attention, length)
    *lead, _, size = ops.shape(attention.query)
    own = [*lead[:-1], 1] if keys.value.shape[-3] == 1 else lead
    shared = keras.tree.map_structure(  # (heads, 1, S, _)
        lambda x: ops.reshape(_broadcast(x, own), (-1, 1, *ops.shape(x)[-2:])),
        (keys.key, keys.value),
    )
    total = product([*lead, queries.count], "int32")  # blocks of all heads
    query = ops.reshape(queries.pad(attention.query), (total, 1, length, size))
    start = ops.arange(total, dtype="int32") % queries.count * length  # (heads N,)
    blocks = {"query": query, "start": start}
    if keys.mask is not None:
        blocks["mask"] = _mask_by_head(keys.mask, lead, queries)
    if attention.query_mask is not None:
        blocks["query_mask"] = _mask_by_head(attention.query_mask, lead, queries)
    if attention.segments is not None:
        blocks["segments"] = _mask_by_head(attention.segments, lead, queries)
        blocks["segments of keys"] = _mask_by_head(keys.segments, lead, queries)

    def keys_of(block, shared):
        key, value = shared  # (1, S, _)
        own = {"mask": block.get("mask"), "segments": block.get("segments of keys")}
        return dataclasses.replace(keys, key=key, value=value, **own)

    contexts = _map_blocks(attention, keys_of, blocks, shared)  # (heads N, 1, L, D_value)
    joined = (*lead, queries.count * length, contexts.shape[-1])
    return ops.reshape(contexts, joined)[..., : queries.steps, :]


def in_bands(attention, length):
    """The context `(..., T, D_value)` for a window: `length` queries at a time, each block over
    the keys that its window reaches, and over the global keys that all queries see.
    """
    keys, rule, queries = attention.keys, attention.keys.rule, _Queries(attention, length)
    num_global, halo = rule.num_global, rule.halo
    # Global keys are hidden in the bands. There is a mask in any case: it hides the padded ends.
    mask = ops.arange(ops.shape(keys.value)[-2], dtype="int32") >= num_global  # (S,)
    mask = combine(mask, None if keys.mask is None else keys.mask[..., 0, :])  # (..., S)
    tensors = {"value": keys.value, "mask": ops.expand_dims(mask, -1)}  # (..., S, _)
    tensors |= {f"key {n}": part for n, part in enumerate(keras.tree.flatten(keys.key))}
    if keys.segments is not None:
        tensors["segments of keys"] = ops.swapaxes(keys.segments, -1, -2)  # (..., S, 1)
    blocks = {name: queries.bands(x, rule) for name, x in tensors.items()} | queries.blocks()
    global_parts = keras.tree.map_structure(
        lambda x: x[..., :num_global, :], (keys.key, keys.value)
    )  # (..., num_global, _)
    # By position the queries of each block see the same of its keys.
    at = ops.expand_dims(ops.arange(length, dtype="int32") + rule.window - 1, -1)  # (L, 1)
    band_at = ops.expand_dims(ops.arange(length + halo, dtype="int32"), 0)  # (1, L + halo)
    in_window = dataclasses.replace(rule, num_global=0)(at, band_at)  # (L, L + halo)

    def band_of(block, in_window):
        key = [block[name] for name in tensors if name.startswith("key ")]  # (..., L + halo, _)
        return Keys(
            keras.tree.pack_sequence_as(keys.key, key),
            block["value"],  # (..., L + halo, D_value)
            combine(_row(block["mask"]), in_window),  # (..., L, L + halo)
            start=attention.start + block["start"] - (rule.window - 1),
            segments=_row(block.get("segments of keys")),  # (..., 1, L + halo)
        )

    def band_and_global_of(block, shared):
        key, value, in_window = shared
        mask = None if keys.mask is None else keys.mask[..., :num_global]
        start = attention.start + block["start"]
        everywhere = Keys(key, value, mask, rule).mask_of_queries(start, length)
        band, segments = band_of(block, in_window), keys.segments
        if segments is not None:  # (..., 1, num_global + L + halo)
            segments = ops.concatenate([segments[..., :num_global], band.segments], axis=-1)
        return Keys(
            (key, band.key, band.start),
            ops.concatenate([value, band.value], axis=-2),  # (..., num_global + L + halo, D_value)
            ops.concatenate([everywhere, band.mask], axis=-1),  # (..., L, num_global + L + halo)
            segments=segments,
        )

    if not num_global:
        contexts = _map_blocks(attention, band_of, blocks, _for_all_blocks(in_window))
        return queries.join(contexts)
    both = _with_scores_of_both(attention)
    shared = _for_all_blocks((*global_parts, in_window))
    context = queries.join(_map_blocks(both, band_and_global_of, blocks, shared))
    # The global steps see all keys themselves, too.
    query_mask, segments = attention.query_mask, attention.segments
    head = dataclasses.replace(
        attention,
        query=attention.query[..., :num_global, :],
        query_mask=None if query_mask is None else query_mask[..., :num_global, :],
        segments=None if segments is None else segments[..., :num_global, :],
    ).context()  # (..., num_global, D_value)
    return ops.concatenate([head, context[..., num_global:, :]], axis=-2)


def _map_blocks(attention, keys_of, blocks, shared):
    """The contexts `(N, ..., L, D_value)` of blocks over the keys `keys_of(block, shared)`.

    `shared` has a first axis, see `map_rematerialized`.
    """
    base = None if attention.seed is None else attention.seed.next()

    def context_of(block, shared, average_rows):
        part = dataclasses.replace(
            attention,
            query=block["query"],  # (..., L, D_query)
            keys=keys_of(block, shared),
            start=attention.start + block["start"],
            query_mask=block.get("query_mask"),  # (..., L, 1)
            segments=block.get("segments"),  # (..., L, 1)
            seed=None if base is None else BlockSeed(base, block["start"]),
        )
        return part.context(average_rows)  # (..., L, D_value)

    loops = loops_tensorflow if target.is_tensorflow() else loops_keras
    variables, dtype = list(attention.steps.variables), attention.keys.value.dtype
    return loops.map_rematerialized(context_of, blocks, shared, variables, dtype)


class _Queries:
    """The queries of an attention, and all that has T steps with them, in blocks of `length`."""

    def __init__(self, attention, length):
        self.attention, self.length = attention, length
        self.steps = ops.shape(attention.query)[-2]

    @functools.cached_property
    def count(self):
        return (self.steps + self.length - 1) // self.length

    def blocks(self):
        """The queries of each block, their mask and segments, and the position of the first, from
        `start`.
        """
        attention = self.attention
        of_steps = {"query_mask": attention.query_mask, "segments": attention.segments}
        return {
            "query": self.split(attention.query),  # (N, ..., L, D_query)
            "start": ops.arange(self.count, dtype="int32") * self.length,  # (N,)
            **{name: self.split(x) for name, x in of_steps.items() if x is not None},
        }

    def pad(self, x):
        """`(..., T, _)` to `(..., N L, _)`: zeros after the last step, for the last block."""
        missing = self.count * self.length - self.steps
        return x if isinstance(missing, int) and not missing else _pad(x, 0, missing)

    def split(self, x):
        """`(..., T, _)` to `(N, ..., L, _)`, with zeros after the last step."""
        *lead, _, size = ops.shape(x)
        return to_front(ops.reshape(self.pad(x), (*lead, self.count, self.length, size)))

    def join(self, x):
        """`(N, ..., L, D)` to `(..., T, D)`."""
        _, *lead, _, size = ops.shape(x)
        axes = list(range(1, len(x.shape)))
        x = ops.transpose(x, [*axes[:-2], 0, *axes[-2:]])  # (..., N, L, D)
        return ops.reshape(x, (*lead, self.count * self.length, size))[..., : self.steps, :]

    def bands(self, x, rule):
        """`(..., S, _)` as `Bands`: the steps that each block may see by the rule's window."""
        rows, left, start = self.length, rule.window - 1, self.attention.start
        count, total = self.count + -(-rule.halo // rows), ops.shape(x)[-2]
        # The first band starts where the first query's window does, before or after the first key.
        if isinstance(start, int):
            before, skipped = max(left - start, 0), max(start - left, 0)
        else:
            before, skipped = ops.maximum(left - start, 0), ops.maximum(start - left, 0)
        x = x[..., skipped:, :]
        after = count * rows - (total - skipped) - before
        after = max(after, 0) if isinstance(after, int) else ops.maximum(after, 0)
        x = _pad(x, before, after)[..., : count * rows, :]  # (..., count L, _)
        return Bands(x, self.count, rows, rule.halo)


def _with_transposed_keys(attention):
    """The same attention where the keys of dot products are `(..., D_key, S)`.

    Transposed once, where XLA would copy them for each block.
    """
    steps, keys = attention.steps, attention.keys
    if steps.dot_scale is None:
        return attention

    def score(query, key, start):
        return grouped_matmul(ops.matmul, query * steps.dot_scale, key)  # (..., T, S)

    key = ops.swapaxes(keys.key, -2, -1)  # (..., D_key, S)
    return dataclasses.replace(
        attention,
        steps=dataclasses.replace(steps, score=score),
        keys=dataclasses.replace(keys, key=key),
    )


def _with_scores_of_both(attention):
    """The same attention where a key is `(global_key, band_key, start of the band)`."""
    compare = attention.steps.score

    def score(query, key, start):
        global_key, band_key, band_start = key
        scores = [compare(query, global_key, start), compare(query, band_key, start - band_start)]
        return ops.concatenate(scores, axis=-1)  # (..., L, num_global + L + halo)

    return dataclasses.replace(attention, steps=dataclasses.replace(attention.steps, score=score))


def _mask_by_head(mask, lead, queries):
    """The part that each block of one head meets of a mask that broadcasts to `(..., T, S)`."""
    for _ in range(len(lead) + 2 - len(mask.shape)):
        mask = ops.expand_dims(mask, 0)
    *own, rows, length = ops.shape(mask)
    is_of_pairs = mask.shape[-2] != 1
    if is_of_pairs:
        mask, rows = queries.pad(mask), queries.length  # (..., N L, S)

    def index(number):
        head, index, stride = number // queries.count, 0, 1
        for size, of_mask in zip(reversed(lead), reversed(own), strict=True):
            index += head % size % of_mask * stride  # 0 where the mask is one for all
            stride, head = stride * of_mask, head // size
        return index * queries.count + number % queries.count if is_of_pairs else index

    return Gathered(ops.reshape(mask, (-1, 1, rows, length)), index)


def _row(x):
    """`(..., S, 1)` as `(..., 1, S)`, `None` as `None`."""
    return None if x is None else ops.swapaxes(x, -1, -2)


def _for_all_blocks(tensors):
    """The tensors with a first axis of 1: one entry for all blocks."""
    return keras.tree.map_structure(lambda x: ops.expand_dims(x, 0), tensors)


def _pad(x, before, after):
    """Zeros before and after the steps of `(..., S, _)`."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 2) + [[before, after], [0, 0]])


def _broadcast(x, lead):
    """`(..., S, _)` with the axes `lead` before the last two."""
    if list(x.shape[:-2]) == lead:
        return x
    return ops.broadcast_to(x, (*lead, *ops.shape(x)[-2:]))
