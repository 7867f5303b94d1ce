"""Masks: every boolean mask of the package is made and combined here.

`True` means "may be attended to", and masks only ever combine by AND. Axes: B batch, H heads,
T query steps, S value steps, D features.
"""

import dataclasses

from keras import ops

from keras_attention import checks


def combine(*masks):
    """AND of all masks that are not `None`, broadcast against each other; `None` if all are."""
    combined = None
    for mask in masks:
        if mask is None:
            continue
        mask = ops.cast(mask, "bool")
        combined = mask if combined is None else ops.logical_and(combined, mask)
    return combined


def of_steps(name, x, **given):
    """AND of the masks of one tensor's steps, `None` if there are none.

    Args:
        name: String, the call argument `x`, for errors.
        x: Tensor `(B, S, D)`, or `(B, Y, X, D)`.
        given: The mask arguments `(B, S)`, or `(B, Y, X)`, or `None`.

    Raises:
        ValueError: If a mask has another rank or length.
    """
    for mask_name, mask in given.items():
        if mask is not None:
            checks.mask(mask_name, mask, name, x)
    return combine(*given.values())


def causal(query_length, value_length, start=None):
    """Causal mask `(T, S)`, aligned at the end: the last query attends to every step.

    For `T == S` this is the usual lower triangle. For `T < S` the queries are taken to be the
    last `T` of `S` steps, as in decoding with a cache (Keras aligns at the start instead), unless
    `start` is given, the position of the first query, as for a cache that is not full yet.
    """
    if start is None:
        start = value_length - query_length
    query_steps = ops.expand_dims(ops.arange(query_length, dtype="int32"), -1)
    value_steps = ops.expand_dims(ops.arange(value_length, dtype="int32"), 0)
    return ops.less_equal(value_steps, query_steps + start)


@dataclasses.dataclass(frozen=True)
class Rule:
    """A mask defined by positions (causal, window, global), never materialized as a whole.

    Called with the positions of query steps `(T, 1)` and of value steps `(1, S)`, both counted as
    the values are, it gives the mask `(T, S)` of these steps.

    Attributes:
        is_causal: Whether a query attends to no later step.
        window: Positive integer W: steps W or more apart do not attend to each other; or `None`.
        num_global: Integer: the first `num_global` steps attend to, and are attended by, all,
            despite a window.
    """

    is_causal: bool = False
    window: int | None = None
    num_global: int = 0

    @property
    def halo(self):
        """The maximum number of other steps that a query attends to by the window."""
        return (self.window - 1) * (1 if self.is_causal else 2)

    def __call__(self, query_steps, value_steps):
        seen = None
        if self.window is not None:
            seen = ops.less(ops.abs(query_steps - value_steps), self.window)
        if self.window is not None and self.num_global:
            for steps in (query_steps, value_steps):
                seen = ops.logical_or(seen, ops.less(steps, self.num_global))
        past = ops.less_equal(value_steps, query_steps) if self.is_causal else None
        return combine(seen, past)


def rule(use_causal_mask=False, window=None, num_global=0):
    """The `Rule`, or `None` if each query may attend to all steps."""
    if not use_causal_mask and window is None:
        return None
    return Rule(bool(use_causal_mask), window, num_global)


def segments(segment_ids, query, value, num_heads=None):
    """The segment of each query and of each key, or `None` twice: steps attend within their own.

    Args:
        segment_ids: Integers `(B, T)` for a sequence that attends to itself, or `None`.
        query: Tensor `(B, T, D)`; only its shape is read.
        value: Tensor `(B, T, D)`; only its shape is read.
        num_heads: Integer, the heads of the scores, or `None` for scores without.

    Returns:
        int32 `(B, T, 1)` and `(B, 1, T)`, with heads `(B, 1, T, 1)` and `(B, 1, 1, T)`.

    Raises:
        ValueError: If the ids are no integers `(B, T)`, or the query has another length.
    """
    if segment_ids is None:
        return None, None
    checks.segment_ids(segment_ids, query, value)
    ids = ops.cast(segment_ids, "int32")
    axes = [1] if num_heads else []
    return _expand(ids, *axes, -1), _expand(ids, *axes, -2)


def same_segment(of_queries, of_keys):
    """Mask `(..., T, S)` of the pairs within one segment, of what `segments` gave; or `None`."""
    return None if of_queries is None else ops.equal(of_queries, of_keys)


def window(offset, half_width):
    """Mask of the steps that lie at most `half_width` from a centre; `offset` is step - centre."""
    return ops.less_equal(ops.abs(offset), half_width)


def attention(
    query,
    value,
    query_mask=None,
    value_mask=None,
    key_mask=None,
    attention_mask=None,
    use_causal_mask=False,
    num_heads=None,
):
    """All masks of one call as a single one, or `None` if every step may be attended to.

    Args:
        query: Tensor `(B, T, D)`; only its shape is read.
        value: Tensor `(B, S, D)`; only its shape is read.
        query_mask: `(B, T)` or `None`. A masked query attends to nothing.
        value_mask: `(B, S)` or `None`.
        key_mask: `(B, S)` or `None`.
        attention_mask: `(T, S)`, `(B, T, S)`, with heads also `(B, H, T, S)`, or `None`.
        use_causal_mask: Whether a query attends to no later step, see `causal`.
        num_heads: Integer, the heads of the scores, or `None` for scores without.

    Returns:
        Boolean mask that broadcasts to the scores, `(B, T, S)` or with heads `(B, H, T, S)`.

    Raises:
        ValueError: If a mask has another rank or length.
    """
    given = query_mask, value_mask, key_mask, attention_mask
    by_position = causal(ops.shape(query)[1], ops.shape(value)[1]) if use_causal_mask else None
    return combine(by_position, *key_and_query_masks(query, value, *given, num_heads))


def key_and_query_masks(
    query,
    value,
    query_mask=None,
    value_mask=None,
    key_mask=None,
    attention_mask=None,
    num_heads=None,
):
    """The masks of one call as two, which combined would be as large as the scores.

    Args:
        query, value, query_mask, value_mask, key_mask, attention_mask, num_heads: As in
            `attention`.

    Returns:
        The mask of keys and pairs, which broadcasts to the scores, and that of the queries,
        `(B, T, 1)`, with heads `(B, 1, T, 1)`. Each may be `None`.

    Raises:
        ValueError: If a mask has another rank or length.
    """
    if attention_mask is not None:
        checks.attention_mask(attention_mask, query, value, num_heads)
        attention_mask = _of_all_keys(attention_mask, ops.shape(value)[1])
        if num_heads and len(attention_mask.shape) == 3:
            attention_mask = ops.expand_dims(attention_mask, 1)
    padding = of_steps("value", value, value_mask=value_mask, key_mask=key_mask)
    query_mask = of_steps("query", query, query_mask=query_mask)
    axes = [1] if num_heads else []
    padding, query_mask = _expand(padding, *axes, -2), _expand(query_mask, *axes, -1)
    return combine(attention_mask, padding), query_mask


def _of_all_keys(mask, length):
    """A mask `(..., S or 1)` as `(..., S)`, as the keys that it allows may be counted."""
    size = mask.shape[-1]
    if isinstance(size, int) and isinstance(length, int) and size == length:
        return mask
    return combine(mask, ops.ones((length,), "bool"))


def blank_unseen(
    query, value, key, query_mask=None, value_mask=None, key_mask=None, attention_mask=None
):
    """The three tensors with zeros in the steps that can neither attend nor be attended to.

    Args:
        query: Tensor `(B, T, D)`.
        value: Tensor `(B, S, D)`.
        key: Tensor `(B, S, D)`; the value if `None`.
        query_mask, value_mask, key_mask, attention_mask: As in `attention`.
    """
    visible, pairs = combine(value_mask, key_mask), attention_mask
    if pairs is not None:  # a step that only padding sees is not seen
        axes = [1] if len(pairs.shape) == 4 else []
        pairs = combine(pairs, _expand(query_mask, *axes, -1), _expand(visible, *axes, -2))
    query = blank(query, combine(query_mask, _any(pairs, axis=-1)))
    visible = combine(visible, _any(pairs, axis=-2))
    value = blank(value, visible)
    return query, value, value if key is None else blank(key, visible)


def seen(value_mask=None, key_mask=None, attention_mask=None):
    """Mask `(B, S)` or `(S,)` of the value steps that some query may attend to, or `None`."""
    return combine(value_mask, key_mask, _any(attention_mask, axis=-2))


def _expand(mask, *axes):
    for axis in axes:
        mask = None if mask is None else ops.expand_dims(mask, axis)
    return mask


def _any(attention_mask, axis):
    if attention_mask is None:
        return None
    seen = ops.any(ops.cast(attention_mask, "bool"), axis=axis)
    return ops.any(seen, axis=1) if len(seen.shape) == 3 else seen  # over heads


def not_empty(mask):
    """Mask `(B, N)` of the rows of a mask `(B, N, W)` that allow a step; `None` if it is `None`."""
    return None if mask is None else ops.any(ops.cast(mask, "bool"), axis=-1)


def blank(x, mask):
    """`x` `(B, S, D)` with zeros instead of its masked steps, for a mask `(B, S)` or `None`.

    A weight of zero is not enough to hide a step: `0 * nan` is `nan`, in the output and in the
    gradient of the layer that projected the step. So layers blank their inputs first. The norm of a
    blank step has a huge gradient, past float16's range: layers with norms blank outputs too.
    """
    if mask is None:
        return x
    return ops.where(ops.expand_dims(ops.cast(mask, "bool"), -1), x, ops.zeros_like(x))


def positions(x, mask=None):
    """The position of each allowed step of `x` `(B, S, ...)`, from 1 on: float32 `(B, S)`.

    Masked steps are not counted: each has the position of the last allowed step before it.
    """
    if mask is None:
        return ops.cumsum(ops.ones(ops.shape(x)[:2], "float32"), axis=1)
    return ops.cumsum(ops.cast(mask, "float32"), axis=1)
