"""A walk over the blocks of queries of `functional.blocks`, each with the keys that it meets."""

import dataclasses
import functools
import itertools

import keras
from keras import ops

from keras_attention.functional.masks import combine
from keras_attention.functional.recompute import (
    Bands,
    BlockSeed,
    Placed,
    each,
    to_front,
    variables_as,
)
from keras_attention.functional.shapes import product

# Where the future is hidden: so many walks, each over longer keys, and the fewest queries of one.
_MOST_PIECES = 4
_LEAST_PIECE = 256


@dataclasses.dataclass
class Blocks:
    """A walk over blocks of queries. What a block computed is not kept for the gradient, but
    computed again.

    Args:
        rows: Function `(query, start, parts, query_mask, seed, in_block=False, known=None)` to the
            context of some queries, the first of which has the number `start`, over a list of
            `Keys`; `known` is that context, where its gradient alone is wanted.
        keys: The `Keys`, all of them.
        query, first, query_mask, seed, variables: As for `attend`.
        length: Positive integer or scalar tensor, the queries in a block.
    """

    rows: object
    query: object
    keys: object
    first: object
    query_mask: object
    seed: object
    variables: list
    length: object = None

    @functools.cached_property
    def steps(self):
        return ops.shape(self.query)[-2]

    @functools.cached_property
    def count(self):
        return (self.steps + self.length - 1) // self.length

    def whole(self):
        """The context in no blocks."""
        return self.rows(self.query, self.first, [self.keys], self.query_mask, self.seed)

    def causal_pieces(self, rows=None):
        """Walks over some queries each (at least `rows`), with no keys but those that their last
        one may see.

        One walk over all where the rule is not causal, or only the run knows the lengths.
        """
        keys, steps, length = self.keys, self.steps, ops.shape(self.keys.value)[-2]
        known = all(isinstance(x, int) for x in (steps, length, self.first))
        count = min(_MOST_PIECES, steps // (rows or _LEAST_PIECE)) if known else 0
        if keys.rule is None or not keys.rule.is_causal or count < 2:
            return [self]
        seed = None if self.seed is None else self.seed.next()

        def piece(start, stop):
            end = min(max(self.first + stop, 1), length)
            mask, query_mask = keys.mask, self.query_mask
            if keys.has_pair_mask:
                mask = mask[..., start:stop, :]
            if mask is not None and mask.shape[-1] != 1:
                mask = mask[..., :end]
            if query_mask is not None:
                query_mask = query_mask[..., start:stop, :]
            seen = keras.tree.map_structure(lambda x: x[..., :end, :], (keys.key, keys.value))
            return dataclasses.replace(
                self,
                query=self.query[..., start:stop, :],
                keys=type(keys)(*seen, mask, keys.rule),
                first=self.first + start,
                query_mask=query_mask,
                seed=None if seed is None else BlockSeed(seed, start),
            )

        bounds = [steps * n // count for n in range(count + 1)]
        return [piece(*some) for some in itertools.pairwise(bounds)]

    def of_queries(self, turns_key):
        """The context, each block over all keys."""
        keys, blocks = self._keys(turns_key), {}
        if keys.has_pair_mask:
            blocks["mask"] = self._split(keys.mask)
        blocks |= self._of_all_queries()

        def parts(block, shared):
            key, value = shared
            mask = block.get("mask", keys.mask)
            return [dataclasses.replace(keys, key=key, value=value, mask=mask)]

        return self._join(self._walk(parts, blocks, (keys.key, keys.value)))

    def of_heads(self, turns_key):
        """The context, each block some queries of one head (or example, of no heads)."""
        keys = self._keys(turns_key)
        *lead, _, size = ops.shape(self.query)
        own = [*lead[:-1], 1] if keys.value.shape[-3] == 1 else lead
        shared = keras.tree.map_structure(
            lambda x: ops.reshape(_broadcast(x, own), (-1, 1, *ops.shape(x)[-2:])),
            (keys.key, keys.value),
        )
        total = product([*lead, self.count], "int32")
        blocks = {
            "query": ops.reshape(self._padded(self.query), (total, 1, self.length, size)),
            "number": ops.arange(total, dtype="int32") % self.count * self.length,
        }
        masks = {"mask": keys.mask, "query_mask": self.query_mask}
        blocks |= {k: self._by_head(x, lead) for k, x in masks.items() if x is not None}

        def parts(block, shared):
            key, value = shared
            return [dataclasses.replace(keys, key=key, value=value, mask=block.get("mask"))]

        context = self._walk(parts, blocks, shared, heads_apart=True)
        context = ops.reshape(context, (*lead, self.count * self.length, context.shape[-1]))
        return context[..., : self.steps, :]

    def _keys(self, turns_key):
        if not turns_key:
            return self.keys
        # Once, where XLA would copy them for each block.
        key = ops.swapaxes(self.keys.key, -2, -1)
        return dataclasses.replace(self.keys, key=key, is_turned=True)

    def _by_head(self, mask, lead):
        """What each block of `of_heads` meets of a mask that broadcasts to `(..., T, S)`."""
        for _ in range(len(lead) + 2 - len(mask.shape)):
            mask = ops.expand_dims(mask, 0)
        *own, rows, length = ops.shape(mask)
        is_of_pairs = mask.shape[-2] != 1
        if is_of_pairs:
            mask, rows = self._padded(mask), self.length

        def place(number):
            head, place, stride = number // self.count, 0, 1
            for size, of_mask in zip(reversed(lead), reversed(own), strict=True):
                place += head % size % of_mask * stride  # 0 where the mask is one for all
                stride, head = stride * of_mask, head // size
            return place * self.count + number % self.count if is_of_pairs else place

        return Placed(ops.reshape(mask, (-1, 1, rows, length)), place)

    def in_bands(self):
        """The context, each block over the keys in its window and those that all queries see."""
        keys, rule = self.keys, self.keys.rule
        num_global = rule.num_global
        # Those that all see are apart. There is a mask in any case: it hides what pads the ends.
        mask = ops.arange(ops.shape(keys.value)[-2], dtype="int32") >= num_global
        mask = combine(mask, None if keys.mask is None else keys.mask[..., 0, :])
        tensors = {"value": keys.value, "mask": ops.expand_dims(mask, -1)}  # (..., S, 1)
        for place, part in enumerate(keras.tree.flatten(keys.key)):
            tensors[f"key {place}"] = part
        blocks = {name: self._bands(x) for name, x in tensors.items()} | self._of_all_queries()
        everywhere = keras.tree.map_structure(
            lambda x: x[..., :num_global, :], (keys.key, keys.value)
        )
        # By their numbers the queries of each block see the same of its keys.
        at = ops.expand_dims(ops.arange(self.length, dtype="int32") + rule.window - 1, -1)
        numbers = ops.expand_dims(ops.arange(self.length + rule.halo, dtype="int32"), 0)
        near = dataclasses.replace(rule, num_global=0)(at, numbers)

        def parts(block, shared):
            *everywhere, in_window = shared
            key = [block[name] for name in tensors if name.startswith("key ")]
            band = type(keys)(
                keras.tree.pack_sequence_as(keys.key, key),
                block["value"],
                combine(ops.swapaxes(block["mask"], -1, -2), in_window),
                first=self.first + block["number"] - (rule.window - 1),
            )
            if not num_global:
                return [band]
            mask = None if keys.mask is None else keys.mask[..., :num_global]
            return [type(keys)(*everywhere, mask, rule), band]

        shared = (*everywhere, near) if num_global else (near,)
        context = self._join(self._walk(parts, blocks, shared))
        if not num_global:
            return context
        # Those that are seen everywhere also see everything.
        query_mask = self.query_mask
        head = self.rows(
            self.query[..., :num_global, :],
            self.first,
            [keys],
            None if query_mask is None else query_mask[..., :num_global, :],
            self.seed,
        )
        return ops.concatenate([head, context[..., num_global:, :]], axis=-2)

    def _of_all_queries(self):
        """What the blocks hold of the queries."""
        blocks = {
            "query": self._split(self.query),
            "number": ops.arange(self.count, dtype="int32") * self.length,
        }
        if self.query_mask is not None:
            blocks["query_mask"] = self._split(self.query_mask)
        return blocks

    def _walk(self, parts_of, blocks, shared, heads_apart=False):
        """The contexts of `parts_of(block, shared)`, the keys of one of the blocks, stacked.

        With heads apart `shared` has a first axis, each entry for as many blocks as the others.
        """
        base = None if self.seed is None else self.seed.next()
        # A gradient of our own has to be told of variables.
        is_told = keras.backend.backend() == "tensorflow"
        variables = self.variables if is_told else []
        values = [ops.convert_to_tensor(variable.value) for variable in variables]

        def for_all(tensors):
            return keras.tree.map_structure(lambda x: ops.expand_dims(x, 0), tensors)

        def one(block, shared, known=None):
            some, values = shared
            with variables_as(variables, values):
                return self.rows(
                    block["query"],
                    self.first + block["number"],
                    parts_of(block, some),
                    block.get("query_mask"),
                    None if base is None else BlockSeed(base, block["number"]),
                    in_block=True,
                    known=known,
                )

        if not heads_apart:
            shared = for_all(shared)
        return each(one, blocks, (shared, for_all(values)), self.keys.value.dtype)

    def _split(self, x):
        """`(..., T, _)` to `(count, ..., length, _)`, with zeros after the last step."""
        *lead, _, size = ops.shape(x)
        x = ops.reshape(self._padded(x), (*lead, self.count, self.length, size))
        return to_front(x)

    def _padded(self, x):
        """Zeros after the last of T steps, for the last block."""
        missing = self.count * self.length - self.steps
        return x if isinstance(missing, int) and not missing else _padded(x, 0, missing)

    def _bands(self, x):
        """`(..., S, _)` as `Bands`: what each block of queries may see."""
        rule, rows = self.keys.rule, self.length
        left, blocks = rule.window - 1, self.count + -(-rule.halo // rows)
        total = ops.shape(x)[-2]
        # Starts where the first query's window does, which may be before or after the first key.
        before = ops.maximum(left - self.first, 0)
        start = ops.maximum(self.first - left, 0)
        if isinstance(self.first, int):
            before, start = max(left - self.first, 0), max(self.first - left, 0)
        x = x[..., start:, :]
        after = blocks * rows - (total - start) - before
        x = _padded(x, before, max(after, 0) if isinstance(after, int) else ops.maximum(after, 0))
        return Bands(x[..., : blocks * rows, :], self.count, rows, rule.halo)

    def _join(self, x):
        """`(count, ..., length, D)` to `(..., T, D)`."""
        _, *lead, _, size = ops.shape(x)
        axes = list(range(1, len(x.shape)))
        x = ops.transpose(x, [*axes[:-2], 0, *axes[-2:]])
        return ops.reshape(x, (*lead, self.count * self.length, size))[..., : self.steps, :]


def _padded(x, before, after):
    """Zeros before and after the steps of `(..., S, _)`."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 2) + [[before, after], [0, 0]])


def _broadcast(x, lead):
    """`(..., S, _)` with the axes `lead` before the last two."""
    if list(x.shape[:-2]) == lead:
        return x
    return ops.broadcast_to(x, (*lead, *ops.shape(x)[-2:]))
