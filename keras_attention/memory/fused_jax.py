"""Plain dot products handed to the fused kernels of JAX, where scores never exist.

Axes: B batch, H heads, G heads of keys, T query steps, S value steps, K size of queries and keys,
V size of values.
"""

import dataclasses
import typing

from keras import backend, ops

from keras_attention import target
from keras_attention.functional.masks import Rule, combine
from keras_attention.memory import policy

_LANES = 128  # a TPU's blocks are multiples of it
_NO_SEGMENT = -(2**31)


@dataclasses.dataclass(frozen=True, eq=False)
class Visible:
    """Which keys each query may see, in the terms of a kernel.

    Attributes:
        keys: Boolean `(B or 1, S)`, or `None`.
        pairs: Boolean `(B or 1, H or 1, T, S)`, or `None`.
        rule: `functional.masks.Rule` or `None`.
        start: Integer, the position of the first query.
        segments: int32 `(B or 1, S)` of a sequence that attends to itself, or `None`.
    """

    keys: typing.Any = None
    pairs: typing.Any = None
    rule: Rule | None = None
    start: int = 0
    segments: typing.Any = None

    @property
    def is_causal(self):
        return self.rule is not None and self.rule.is_causal

    @property
    def window(self):
        return None if self.rule is None else self.rule.window

    @property
    def num_global(self):
        return 0 if self.rule is None else self.rule.num_global


def context(attention):
    """The context `(..., T, V)`, or `None` where no kernel takes the work.

    On GPUs (Ampere and later) it is cuDNN's kernel by `jax.nn.dot_product_attention`, in half
    precision; on TPUs Splash attention, of Pallas. Everything else is left to the caller: queries
    of other than 3 axes, 4 with heads or 5 with groups of heads, where heads that share a group's
    keys have an axis of size 1.
    """
    if attention.steps.dot_scale is None or not policy.is_on():
        return None
    query, keys, start = attention.query, attention.keys, attention.start
    kernel, rule = find_kernel(), keys.rule
    if kernel is None or not 3 <= len(query.shape) <= 5:
        return None
    *lead, steps, _ = query.shape
    length, size = keys.value.shape[-2:]
    is_known = all(isinstance(x, int) for x in (*lead, steps, length, start))
    if not is_known or steps < 2:
        return None
    if rule is not None and (start < 0 or start + steps > length):
        return None  # a query may see nothing by its position alone
    if keys.segments is not None and keys.mask is not None:
        return None  # a query may see nothing of its segment
    batch, groups = lead[0], 1 if len(lead) == 1 else keys.value.shape[1]
    of_keys, of_pairs = _split_mask(keys.mask, len(lead))
    context = kernel(
        ops.reshape(query, (batch, -1, *query.shape[-2:])),  # (B, H, T, K)
        ops.reshape(keys.key, (batch, groups, *keys.key.shape[-2:])),  # (B, G, S, K)
        ops.reshape(keys.value, (batch, groups, *keys.value.shape[-2:])),  # (B, G, S, V)
        attention.steps.dot_scale,
        Visible(of_keys, of_pairs, rule, start, _of_steps(keys.segments)),
    )  # (B, H, T, V)
    if context is None:
        return None
    context = ops.reshape(context, (*lead, steps, size))  # (..., T, V)
    sees = combine(_sees(keys.mask, rule, start, steps, length), attention.query_mask)
    # Not a product: a row that sees nothing may hold any numbers. sees: (..., T, 1)
    return context if sees is None else ops.where(sees, context, ops.zeros_like(context))


def find_kernel():
    """The kernel of this machine, `(query, key, value, scale, visible) -> context`, or `None`."""
    if not target.is_jax():
        return None
    import jax

    device = jax.devices()[0]
    if device.platform == "tpu":
        return splash
    if device.platform == "gpu" and _capability(device) >= 8:
        return cudnn
    return None


def _capability(device):
    try:
        return float(device.compute_capability)
    except (AttributeError, TypeError, ValueError):  # not one of NVIDIA's
        return 0.0


def cudnn(query, key, value, scale, visible, implementation="cudnn"):
    """cuDNN's kernel, in its own terms: its windows are causal, and it has no mask of keys."""
    import jax

    steps, (length, size) = query.shape[-2], value.shape[-2:]
    dtypes = {backend.standardize_dtype(x.dtype) for x in (query, key, value)}
    is_half = dtypes in ({"float16"}, {"bfloat16"})
    if visible.segments is not None:
        return None  # as a mask they would be as large as the scores
    if not is_half and (implementation == "cudnn" or len(dtypes) > 1):
        return None
    if visible.rule is not None and (visible.num_global or steps != length or visible.start):
        return None  # its triangle starts at the first step
    if visible.window is not None and not visible.is_causal:
        if visible.pairs is not None or 3 * visible.window > length:
            return None
        return _in_bands(query, key, value, scale, visible, implementation)
    if visible.pairs is not None and (steps % 2 or length % 2):
        return None
    if visible.keys is not None:
        # One feature more, that takes the hidden keys out of the softmax: a mask would have to be
        # written down for all pairs. Larger numbers would round to more than `exp` can hold where
        # all keys are hidden.
        query = ops.concatenate([query, ops.full_like(query[..., :1], 3e3)], -1)  # (B, H, T, K + 1)
        hidden = ops.where(visible.keys, 0.0, -3e3)[:, None, :, None]  # (B or 1, 1, S, 1)
        hidden = ops.broadcast_to(ops.cast(hidden, key.dtype), (*key.shape[:-1], 1))
        key = ops.concatenate([key, hidden], axis=-1)  # (B, G, S, K + 1)
    width = -(-max(query.shape[-1], size) // 8) * 8
    if width > (256 if implementation != "cudnn" or _capability(jax.devices()[0]) >= 9 else 128):
        return None
    query, key, value = (
        ops.transpose(_widened(x, width), (0, 2, 1, 3)) for x in (query, key, value)
    )  # (B, T, H, width) and twice (B, S, G, width)
    context = jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=visible.pairs,
        scale=scale,
        is_causal=visible.is_causal,
        local_window_size=None if visible.window is None else (visible.window - 1, 0),
        implementation=implementation,
    )  # (B, T, H, width)
    return ops.transpose(context[..., :size], (0, 2, 1, 3))  # (B, H, T, V)


def _in_bands(query, key, value, scale, visible, implementation):
    """A window to both sides: each of N blocks of L queries with the keys near it, as a batch."""
    batch, heads, steps, _ = query.shape
    half = visible.window - 1
    rows = max(_LANES, half + half % 2)
    count = -(-steps // rows)

    def bands(x):  # (B, G, T, _) to (B N, G, L + 2 half, _)
        x = ops.pad(x, [[0, 0], [0, 0], [half, half + count * rows - steps], [0, 0]])
        x = ops.stack([x[:, :, n * rows : (n + 1) * rows + 2 * half] for n in range(count)], 1)
        return ops.reshape(x, (batch * count, *x.shape[2:]))

    of_keys = ops.ones((batch, steps), "bool") if visible.keys is None else visible.keys
    of_keys = ops.broadcast_to(of_keys, (batch, steps))  # (B, S)
    near = bands(ops.cast(of_keys[:, None, :, None], "int32"))[:, 0, :, 0] > 0  # (B N, L + 2 half)
    query = _lengthened(query, count * rows)  # (B, H, N L, K)
    query = ops.reshape(query, (batch, heads, count, rows, -1))  # (B, H, N, L, K)
    query = ops.transpose(query, (0, 2, 1, 3, 4))  # (B, N, H, L, K)
    query = ops.reshape(query, (batch * count, heads, rows, -1))  # (B N, H, L, K)
    offset = ops.arange(rows + 2 * half)[None] - half - ops.arange(rows)[:, None]  # (L, L + 2 half)
    in_window = ops.absolute(offset)[None, None] < visible.window  # (1, 1, L, L + 2 half)
    near = Visible(near, in_window)
    context = cudnn(query, bands(key), bands(value), scale, near, implementation)
    if context is None:
        return None
    context = ops.reshape(context, (batch, count, heads, rows, -1))  # (B, N, H, L, V)
    context = ops.transpose(context, (0, 2, 1, 3, 4))  # (B, H, N, L, V)
    return ops.reshape(context, (batch, heads, count * rows, -1))[:, :, :steps]  # (B, H, T, V)


def splash(query, key, value, scale, visible, interpret=False):
    """Splash attention: any triangle and window, segments, and hidden keys as one more of them."""
    import jax
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernels,
    )

    if visible.pairs is not None or visible.num_global:
        return None
    if visible.segments is not None and query.shape[-2] != value.shape[-2]:
        return None  # steps of a cache
    batch, heads, steps, _ = query.shape
    groups, length, _ = key.shape[1:]
    rows, columns = (-(-x // _LANES) * _LANES for x in (steps, length))
    query = _lengthened(query * ops.cast(scale, query.dtype), rows)  # (B, H, rows, K)
    key, value = _lengthened(key, columns), _lengthened(value, columns)  # (B, G, columns, _)
    of_keys = visible.keys
    if of_keys is None and columns != length:
        of_keys = ops.ones((1, length), "bool")
    segments = None
    if of_keys is not None or visible.segments is not None:
        ids = ops.ones((batch, length), "int32") if visible.segments is None else visible.segments
        ids = ops.broadcast_to(ids, (batch, length))
        of_keys = ids if of_keys is None else ops.where(of_keys, ids, _NO_SEGMENT)  # (B, S)
        if visible.segments is None:
            ids = ops.ones((batch, rows), "int32")
        segments = kernels.SegmentIds(_padded_ids(ids, rows), _padded_ids(of_keys, columns))
    group = heads // groups
    make = kernels.make_splash_mha_single_device
    if group > 1:
        make = kernels.make_splash_mqa_single_device
        query = ops.reshape(query, (batch, groups, group, *query.shape[-2:]))  # (B, G, H / G, _, K)
    kernel = make(
        _splash_mask(visible, rows, columns, group if group > 1 else heads),
        block_sizes=_splash_blocks(rows, columns),
        interpret=interpret,
    )
    if group > 1:  # over groups, which have their keys together
        kernel = jax.vmap(kernel, in_axes=(0, 0, 0, None))
    kernel = jax.vmap(kernel, in_axes=(0, 0, 0, None if segments is None else 0))
    context = kernel(query, key, value, segments)  # (B, H, rows, V), or as the query in groups
    return ops.reshape(context, (batch, heads, *context.shape[-2:]))[:, :, :steps]  # (B, H, T, V)


def _splash_mask(visible, rows, columns, heads):
    """The mask by positions, in Splash attention's classes, one for each head."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    size = rows, columns
    if visible.rule is None:
        mask = masks.FullMask(size)
    elif visible.window is None:
        mask = masks.CausalMask(size, offset=visible.start)
    else:
        before = visible.window - 1
        after = 0 if visible.is_causal else before
        mask = masks.LocalMask(size, (before, after), offset=visible.start)
    return masks.MultiHeadMask([mask] * heads)


def _splash_blocks(rows, columns):
    """The largest blocks that divide both, forward and backward."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernels,
    )

    of_query, of_key = (next(x for x in (512, 256, 128) if n % x == 0) for n in (rows, columns))
    return kernels.BlockSizes(
        block_q=of_query,
        block_kv=of_key,
        block_kv_compute=of_key,
        block_q_dkv=of_query,
        block_kv_dkv=of_key,
        block_kv_dkv_compute=of_key,
        block_q_dq=of_query,
        block_kv_dq=of_key,
    )


def _padded_ids(ids, size):
    """Segment ids `(B, T)` with steps of no segment up to `size`."""
    missing = size - ids.shape[-1]
    return ops.pad(ids, [[0, 0], [0, missing]], constant_values=_NO_SEGMENT) if missing else ids


def _of_steps(segments):
    """The segments of keys `(B, ..., 1, S)`, with axes of size 1, as `(B, S)`; `None` as `None`."""
    return None if segments is None else ops.reshape(segments, (-1, segments.shape[-1]))


def _split_mask(mask, axes):
    """A mask as one of keys `(B, S)` or, where queries or heads differ, of pairs `(B, H, T, S)`."""
    if mask is None:
        return None, None
    while len(mask.shape) < axes + 2:
        mask = ops.expand_dims(mask, 0)
    batch, *heads, steps, length = mask.shape
    if steps == 1 and all(x == 1 for x in heads):
        return ops.reshape(mask, (batch, length)), None
    return None, ops.reshape(mask, (batch, -1, steps, length))


def _sees(mask, rule, start, steps, length):
    """Mask `(..., T, 1)` of the queries that see a key; `None` if all do."""
    if mask is None:
        return None
    if rule is None:
        return ops.any(mask, axis=-1, keepdims=True)  # (..., T or 1, 1)
    at = ops.arange(steps, dtype="int32") + start  # (T,)
    if mask.shape[-2] != 1:
        by_rule = rule(at[:, None], ops.arange(length, dtype="int32")[None])  # (T, S)
        return ops.any(combine(mask, by_rule), axis=-1, keepdims=True)  # (..., T, 1)
    # The allowed keys before each, and each key's own too, so that a difference counts a window.
    before = ops.cumsum(ops.cast(mask, "int32"), axis=-1)  # (..., 1, S)
    before = ops.pad(before, [[0, 0]] * (len(mask.shape) - 1) + [[1, 0]])  # (..., 1, S + 1)
    first = ops.zeros_like(at) if rule.window is None else ops.maximum(at - rule.window + 1, 0)
    after = 1 if rule.is_causal else rule.window
    stop = ops.minimum(at + after, length)  # (T,)
    count = ops.take(before, stop, axis=-1) - ops.take(before, first, axis=-1)  # (..., 1, T)
    return ops.swapaxes(count > 0, -1, -2)  # (..., T, 1)


def _widened(x, size):
    """`(..., D)` with zeros up to `size` features."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, size - x.shape[-1]]])


def _lengthened(x, length):
    """`(..., T, D)` with zeros up to `length` steps."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 2) + [[0, length - x.shape[-2]], [0, 0]])
