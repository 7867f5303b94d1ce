"""Plain dot products handed to the fused kernels of the JAX backend, where scores never exist."""

import keras
from keras import ops

from keras_attention.functional.masks import combine

_LANES = 128  # a TPU's blocks are multiples of it


def context(query, keys, scale, query_mask, first):
    """Softmax attention by `scale * query . key`, or `None` where no kernel takes the work.

    On GPUs (Ampere and later) it is cuDNN's kernel by `jax.nn.dot_product_attention`, in half
    precision; on TPUs Splash attention, of Pallas. Everything else is left to the caller.

    Args:
        query: Tensor `(..., T, D)` with 3 axes, with 4 for heads or with 5 for groups of heads.
        keys: `functional.attend.Keys`; heads that share a group's keys have an axis of size 1.
        scale: Float.
        query_mask, first: As for `functional.attend.attend`.

    Returns:
        The context `(..., T, D_value)` or `None`.
    """
    kernel, rule = _kernel(), keys.rule
    if kernel is None or not 3 <= len(query.shape) <= 5:
        return None
    *lead, steps, _ = query.shape
    length, size = keys.value.shape[-2:]
    sizes = (*lead, steps, length, first)
    if not all(isinstance(x, int) for x in sizes) or steps < 2:
        return None
    if rule is not None and (first < 0 or first + steps > length):
        return None  # a query may see nothing by its number alone
    batch, shared = lead[0], 1 if len(lead) == 1 else keys.value.shape[1]
    of_keys, of_pairs = _split(keys.mask, len(lead))
    found = kernel(
        ops.reshape(query, (batch, -1, *query.shape[-2:])),
        ops.reshape(keys.key, (batch, shared, *keys.key.shape[-2:])),
        ops.reshape(keys.value, (batch, shared, *keys.value.shape[-2:])),
        scale,
        of_keys,
        of_pairs,
        rule,
        first,
    )
    if found is None:
        return None
    found = ops.reshape(found, (*lead, steps, size))
    seen = combine(_sees(keys.mask, rule, first, steps, length), query_mask)
    # Not a product: nothing is known of the numbers of a row that sees nothing.
    return found if seen is None else ops.where(seen, found, ops.zeros_like(found))


def _kernel():
    """The kernel of this machine, or `None`."""
    if keras.backend.backend() != "jax":
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


def cudnn(query, key, value, scale, of_keys, of_pairs, rule, first, implementation="cudnn"):
    """cuDNN's kernel, in its own terms: its windows are causal, and it has no mask of keys."""
    import jax

    steps, (length, size) = query.shape[-2], value.shape[-2:]
    is_causal = rule is not None and rule.is_causal
    window = None if rule is None else rule.window
    dtypes = {keras.backend.standardize_dtype(x.dtype) for x in (query, key, value)}
    is_half = dtypes in ({"float16"}, {"bfloat16"})
    if not is_half and (implementation == "cudnn" or len(dtypes) > 1):
        return None
    if rule is not None and (rule.num_global or steps != length or first):
        return None  # its triangle starts at the first step
    if window is not None and not is_causal:
        if of_pairs is not None or 3 * window > length:
            return None
        return _in_bands(query, key, value, scale, of_keys, window, implementation)
    if of_pairs is not None and (steps % 2 or length % 2):
        return None
    if of_keys is not None:
        # One feature more, that takes what is hidden out of the softmax: a mask would have to be
        # written down for all pairs. Larger numbers would round to more than `exp` can hold where
        # all is hidden.
        query = ops.concatenate([query, ops.full_like(query[..., :1], 3e3)], axis=-1)
        hidden = ops.where(of_keys, 0.0, -3e3)[:, None, :, None]
        hidden = ops.broadcast_to(ops.cast(hidden, key.dtype), (*key.shape[:-1], 1))
        key = ops.concatenate([key, hidden], axis=-1)
    width = -(-max(query.shape[-1], size) // 8) * 8
    if width > (256 if implementation != "cudnn" or _capability(jax.devices()[0]) >= 9 else 128):
        return None
    query, key, value = (
        ops.transpose(_widened(x, width), (0, 2, 1, 3)) for x in (query, key, value)
    )
    found = jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=of_pairs,
        scale=scale,
        is_causal=is_causal,
        local_window_size=None if window is None else (window - 1, 0),
        implementation=implementation,
    )
    return ops.transpose(found[..., :size], (0, 2, 1, 3))


def _in_bands(query, key, value, scale, of_keys, window, implementation):
    """A window to both sides: each block of queries with its own and the next keys, as a batch."""
    batch, heads, steps, _ = query.shape
    half = window - 1
    rows = max(_LANES, half + half % 2)
    count = -(-steps // rows)

    def bands(x):  # (B, G, T, D) to (B N, G, rows + 2 half, D)
        x = ops.pad(x, [[0, 0], [0, 0], [half, half + count * rows - steps], [0, 0]])
        x = ops.stack([x[:, :, n * rows : (n + 1) * rows + 2 * half] for n in range(count)], 1)
        return ops.reshape(x, (batch * count, *x.shape[2:]))

    of_keys = ops.ones((batch, steps), "bool") if of_keys is None else of_keys
    of_keys = ops.broadcast_to(of_keys, (batch, steps))
    near = bands(ops.cast(of_keys[:, None, :, None], "int32"))[:, 0, :, 0] > 0
    query = _lengthened(query, count * rows)
    query = ops.reshape(query, (batch, heads, count, rows, -1))
    query = ops.reshape(ops.transpose(query, (0, 2, 1, 3, 4)), (batch * count, heads, rows, -1))
    offset = ops.arange(rows + 2 * half)[None] - half - ops.arange(rows)[:, None]
    in_window = ops.absolute(offset)[None, None] < window
    found = cudnn(query, bands(key), bands(value), scale, near, in_window, None, 0, implementation)
    if found is None:
        return None
    found = ops.reshape(found, (batch, count, heads, rows, -1))
    found = ops.reshape(ops.transpose(found, (0, 2, 1, 3, 4)), (batch, heads, count * rows, -1))
    return found[:, :, :steps]


def splash(query, key, value, scale, of_keys, of_pairs, rule, first, interpret=False):
    """Splash attention: any triangle and window, and hidden keys as another segment."""
    import jax
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernels,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as shapes

    if of_pairs is not None or (rule is not None and rule.num_global):
        return None
    batch, heads, steps, _ = query.shape
    shared, length, _ = key.shape[1:]
    rows, columns = (-(-x // _LANES) * _LANES for x in (steps, length))
    query = _lengthened(query * ops.cast(scale, query.dtype), rows)
    key, value = _lengthened(key, columns), _lengthened(value, columns)
    if of_keys is None and columns != length:
        of_keys = ops.ones((1, length), "bool")
    segments = None
    if of_keys is not None:
        of_keys = ops.pad(ops.cast(of_keys, "int32"), [[0, 0], [0, columns - length]])
        of_keys = ops.broadcast_to(of_keys, (batch, columns))
        segments = kernels.SegmentIds(ops.ones((batch, rows), "int32"), of_keys)
    if rule is None:
        shape = shapes.FullMask((rows, columns))
    elif rule.window is None:
        shape = shapes.CausalMask((rows, columns), offset=first)
    else:
        after = 0 if rule.is_causal else rule.window - 1
        shape = shapes.LocalMask((rows, columns), (rule.window - 1, after), offset=first)
    of_query, of_key = (next(x for x in (512, 256, 128) if n % x == 0) for n in (rows, columns))
    blocks = kernels.BlockSizes(
        block_q=of_query,
        block_kv=of_key,
        block_kv_compute=of_key,
        block_q_dkv=of_query,
        block_kv_dkv=of_key,
        block_kv_dkv_compute=of_key,
        block_q_dq=of_query,
        block_kv_dq=of_key,
    )
    group = heads // shared
    make = kernels.make_splash_mha_single_device
    if group > 1:
        make = kernels.make_splash_mqa_single_device
        query = ops.reshape(query, (batch, shared, group, *query.shape[-2:]))
    mask = shapes.MultiHeadMask([shape] * (group if group > 1 else heads))
    kernel = make(mask, block_sizes=blocks, interpret=interpret)
    if group > 1:  # over groups, which have their keys together
        kernel = jax.vmap(kernel, in_axes=(0, 0, 0, None))
    found = jax.vmap(kernel, in_axes=(0, 0, 0, None if segments is None else 0))(
        query, key, value, segments
    )
    return ops.reshape(found, (batch, heads, *found.shape[-2:]))[:, :, :steps]


def _split(mask, axes):
    """A mask as one of keys `(B, S)` or, where queries or heads differ, of pairs `(B, H, T, S)`."""
    if mask is None:
        return None, None
    while len(mask.shape) < axes + 2:
        mask = ops.expand_dims(mask, 0)
    batch, *heads, steps, length = mask.shape
    if steps == 1 and all(x == 1 for x in heads):
        return ops.reshape(mask, (batch, length)), None
    return None, ops.reshape(mask, (batch, -1, steps, length))


def _sees(mask, rule, first, steps, length):
    """Mask `(..., T, 1)` of the queries that see a key; `None` if all do."""
    if mask is None:
        return None
    if rule is None:
        return ops.any(mask, axis=-1, keepdims=True)
    at = ops.arange(steps, dtype="int32") + first
    if mask.shape[-2] != 1:
        numbers = ops.arange(length, dtype="int32")
        return ops.any(combine(mask, rule(at[:, None], numbers[None])), axis=-1, keepdims=True)
    before = ops.cumsum(ops.cast(mask, "int32"), axis=-1)  # allowed keys, each key's own too
    before = ops.pad(before, [[0, 0]] * (len(mask.shape) - 1) + [[1, 0]])
    start = ops.zeros_like(at) if rule.window is None else ops.maximum(at - rule.window + 1, 0)
    after = 1 if rule.is_causal else rule.window
    stop = ops.minimum(at + after, length)
    count = ops.take(before, stop, axis=-1) - ops.take(before, start, axis=-1)
    return ops.swapaxes(count > 0, -1, -2)


def _widened(x, size):
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, size - x.shape[-1]]])


def _lengthened(x, length):
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 2) + [[0, length - x.shape[-2]], [0, 0]])
