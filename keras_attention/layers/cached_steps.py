"""Decoding with a KV cache: multi-head attention for further steps alone."""

import numbers
from typing import Any

import keras
from keras import ops

from keras_attention.functional import cache as caches
from keras_attention.functional import masks
from keras_attention.functional.attention import Keys
from keras_attention.types import State, Tensor


class CachedSteps:
    """Mixin of multi-head attention: a KV cache keeps the keys and values of all steps so far.

    A cache is a dict of plain tensors whose first axis is the batch: `"key"` `(B, G, M, K)` and
    `"value"` `(B, G, M, V)` for M steps of G heads of keys, and the boolean `"mask"` `(B, M)`; and,
    once a step came with segments, int32 `"segment_ids"` `(B, M)`.
    """

    def initial_cache(self, batch_size: int | Tensor, max_length: int) -> State:
        """An empty KV cache, for causal self-attention step by step.

        Args:
            batch_size: Integer or scalar tensor B.
            max_length: Integer M, the maximum number of prompt and generated steps together.

        Returns:
            Dict of `"key"` `(B, G, M, key_dim)`, `"value"` `(B, G, M, value_dim)`, for G heads of
            keys and values, and the boolean `"mask"` `(B, M)`: all zeros.

        Example:
            >>> layer = ka.MultiHeadAttention(num_heads=2, key_dim=4)
            >>> x = keras.random.normal((1, 5, 8), seed=1)
            >>> at_once = layer(x, x, use_causal_mask=True)  # builds the layer
            >>> cache = layer.initial_cache(batch_size=1, max_length=5)
            >>> output, cache = layer.step(x[:, :3], cache, 0)  # the prompt, three steps
            >>> outputs = [output]
            >>> for index in (3, 4):  # then one step at a time
            ...     output, cache = layer.step(x[:, index : index + 1], cache, index)
            ...     outputs.append(output)
            >>> difference = keras.ops.concatenate(outputs, axis=1) - at_once
            >>> bool(keras.ops.max(keras.ops.abs(difference)) < 1e-5)
            True
        """
        steps = (batch_size, self.num_key_value_heads, max_length)
        return {
            "key": ops.zeros((*steps, self.key_dim), dtype=self.compute_dtype),
            "value": ops.zeros((*steps, self.value_dim), dtype=self.compute_dtype),
            "mask": ops.zeros((batch_size, max_length), dtype="bool"),
        }

    def memory_cache(
        self,
        value: Tensor,
        key: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
    ) -> State:
        """The KV cache of cross-attention: a memory's keys and values, projected once.

        Args:
            value: Float tensor `(B, S, D_value)`.
            key: Float tensor `(B, S, D_key)`; the value if `None`.
            value_mask: Boolean `(B, S)`, or `None`.
            key_mask: Boolean `(B, S)`, or `None`.

        Returns:
            Dict of `"key"`, `"value"` and `"mask"`, as that of `initial_cache`, with M = S.

        Raises:
            ValueError: If the layer is not built or has a `position`, or a mask does not fit.

        Example:
            >>> layer = ka.MultiHeadAttention(num_heads=2, key_dim=4)
            >>> memory, x = keras.ops.ones((1, 5, 6)), keras.ops.ones((1, 1, 8))
            >>> layer.build(x.shape, memory.shape)
            >>> cache = layer.memory_cache(memory)
            >>> output, cache = layer.step(x, cache)  # without an index: the cache stays as it is
            >>> output.shape == (1, 1, 8)
            True
        """
        self._check_can_step()
        mask = masks.of_steps("value", value, value_mask=value_mask, key_mask=key_mask)
        if mask is None:
            mask = ops.ones(ops.shape(value)[:2], dtype="bool")  # (B, S)
        value = masks.blank(ops.cast(value, self.compute_dtype), mask)
        key = value if key is None else masks.blank(ops.cast(key, self.compute_dtype), mask)
        return {
            "key": self._to_heads(key, self.key_dense),  # (B, G, S, K)
            "value": self._to_heads(value, self.value_dense),  # (B, G, S, V)
            "mask": mask,
        }

    def step(
        self,
        query: Tensor,
        cache: State,
        index: int | Tensor | None = None,
        query_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, ...]:
        """Attends from T new steps to themselves and to all steps in the cache.

        With an `index` the same as the last T steps of a causal call over all steps so far.

        Args:
            query: Float tensor `(B, T, D)`: a prompt, or one step.
            cache: What `initial_cache`, `memory_cache` or the step before returned.
            index: Integer or scalar tensor, the position in the cache of the first of these steps;
                `None` to read the cache of a memory. Not checked if it is a tensor; it must be at
                most M - T.
            query_mask: Boolean `(B, T)`, or `None`; kept in the cache.
            segment_ids: Integers `(B, T)`: a step attends to those of its own segment alone. The
                cache keeps them from the first step on that has them (those before count as 0);
                then each step needs them. `None` for one segment.
            return_attention_scores: Whether to return the weights too.

        Returns:
            A tuple of the output `(B, T, D)` and the new cache; with `return_attention_scores` the
            weights `(B, H, T, M)` are between them.

        Raises:
            ValueError: If the layer is not built, if `index` is not an integer or the steps do not
                fit into the cache from there, if there is no `index` and the layer has a
                `position`, if a mask does not fit, or if there are `segment_ids` without an `index`
                or none where the cache has them.
        """
        self._check_can_step(index)
        query_mask = masks.of_steps("query", query, query_mask=query_mask)
        cache = _with_segments(cache, index, segment_ids)
        segments, _ = masks.segments(segment_ids, query, query, self.num_heads)  # (B, 1, T, 1)
        query = masks.blank(ops.cast(query, self.compute_dtype), query_mask)
        gate = self.gate_dense(query) if self.use_gate else None  # (B, T, H, V)
        position = start = rule = None
        if index is not None:
            position = start = _as_position(index)
            rule = masks.rule(True, self.window, self.num_global)
            cache = self._write(cache, query, position, query_mask, segment_ids)
        near = cache
        if index is not None and self.window and not (return_attention_scores or self.num_global):
            near, start = _in_window(cache, self.window, position, query.shape[1])
        kept = near["mask"]  # (B, M)
        mask, query_mask = masks.key_and_query_masks(
            query, ops.expand_dims(kept, -1), query_mask, kept, num_heads=self.num_heads
        )  # (B, 1, 1, M) and (B, 1, T, 1)
        query = self._to_heads(query, self.query_dense, position)  # (B, H, T, K)
        of_keys = near.get("segment_ids")
        if of_keys is not None:
            of_keys = ops.expand_dims(of_keys, (1, 2))  # (B, 1, 1, M)
        keys = Keys(near["key"], near["value"], mask, rule, segments=of_keys)
        of_queries = {"start": start, "query_mask": query_mask, "segments": segments}
        context, weights = self._attend_heads(query, keys, of_queries, return_attention_scores)
        output = self._output(context, gate)  # (B, T, D)
        return (output, weights, cache) if return_attention_scores else (output, cache)

    def _write(self, cache, x, start, mask, segment_ids):
        """The cache with what it keeps of the steps `x` `(B, T, D)` from `start` on."""
        steps, length = x.shape[1], cache["mask"].shape[1]
        is_known = isinstance(start, int) and None not in (steps, length)
        if is_known and not 0 <= start <= length - steps:
            raise ValueError(
                "The steps must fit into the cache, from `index` on. Received: "
                f"query.shape={tuple(x.shape)}, index={start}, a cache of {length} steps"
            )
        mask = ops.ones(ops.shape(x)[:2], dtype="bool") if mask is None else mask  # (B, T)
        key = self._to_heads(x, self.key_dense, start)  # (B, G, T, K)
        value = self._to_heads(x, self.value_dense)  # (B, G, T, V)
        written = {
            "key": caches.write(cache["key"], key, start, axis=2),
            "value": caches.write(cache["value"], value, start, axis=2),
            "mask": caches.write(cache["mask"], mask, start, axis=1),
        }
        if segment_ids is not None:
            ids = caches.write(cache["segment_ids"], segment_ids, start, axis=1)
            written["segment_ids"] = ids
        return written

    def _check_can_step(self, index=None):
        if not self.built:
            raise ValueError(
                f"Build or call the layer {self.name!r} before it decodes step by step"
            )
        if self.position is not None and index is None:
            raise ValueError(
                "A memory has no position relative to the steps that read it: reading one needs "
                f"a layer with `position=None`. Received: index=None, position={self.position}"
            )


def _as_position(index):
    """An index as a Python integer, or a tensor as int32."""
    if isinstance(index, numbers.Integral):  # NumPy's too
        return int(index)
    index = ops.convert_to_tensor(index)
    if "int" not in keras.backend.standardize_dtype(index.dtype) or len(index.shape):
        raise ValueError(f"`index` must be an integer or `None`. Received: index={index!r}")
    return ops.cast(index, "int32")


def _with_segments(cache, index, segment_ids):
    """The cache with room for the segments of its steps, if these have some."""
    if segment_ids is None:
        if "segment_ids" in cache:
            raise ValueError(
                "The cache holds steps with `segment_ids`, so each step needs them. Received: "
                "segment_ids=None"
            )
        return cache
    if index is None:
        raise ValueError(
            "`segment_ids` part the steps of one sequence, and a memory is another. Received: "
            f"segment_ids of shape {tuple(segment_ids.shape)}, index=None"
        )
    return {"segment_ids": ops.zeros(ops.shape(cache["mask"]), "int32"), **cache}


def _in_window(cache, window, start, steps):
    """The part of a cache that T steps from `start` on see by the window, and the position in it
    of the first of them. With an unknown T it is the whole cache.
    """
    key, value, kept = cache["key"], cache["value"], cache["mask"]
    size, length = window - 1 + (steps or 0), kept.shape[1]
    if steps is None or length is None or size >= length:
        return cache, start
    start = ops.convert_to_tensor(start, "int32")
    first = ops.clip(start - (window - 1), 0, length - size)
    key, value = (
        ops.slice(x, (0, 0, first, 0), (*ops.shape(x)[:2], size, x.shape[3])) for x in (key, value)
    )  # (B, G, W - 1 + T, _)
    of_steps = {
        name: ops.slice(x, (0, first), (ops.shape(x)[0], size))  # (B, W - 1 + T)
        for name, x in cache.items()
        if name in ("mask", "segment_ids")
    }
    return {"key": key, "value": value, **of_steps}, start - first
