"""Score, normalize, average: the one place where attention is computed."""

import dataclasses
import typing

from keras import ops

from keras_attention.functional import blocks, fused
from keras_attention.functional.average import average, softmax_average, with_shared
from keras_attention.functional.block_walk import Blocks
from keras_attention.functional.for_tflite import is_for_tflite
from keras_attention.functional.masks import Rule, combine
from keras_attention.functional.normalize import softmax_of_rows


@dataclasses.dataclass(frozen=True)
class Keys:
    """Some of the keys, with their values.

    Attributes:
        key: Tensor `(..., S, D_key)`, or whatever structure of tensors the score takes.
        value: Tensor `(..., S, D_value)`.
        mask: Boolean tensor that broadcasts to `(..., T, S)`, or `None`.
        rule: `functional.masks.Rule` or `None`, which of them a query sees by its number.
        first: Integer or scalar tensor, the number of the first of them.
        is_turned: Whether the key is `(..., D_key, S)`.
    """

    key: typing.Any
    value: typing.Any
    mask: typing.Any = None
    rule: Rule | None = None
    first: typing.Any = 0
    is_turned: bool = False

    @property
    def has_pair_mask(self):
        """Whether the mask differs between queries, and so is as large as the scores."""
        return self.mask is not None and len(self.mask.shape) > 1 and self.mask.shape[-2] != 1


def attend(
    query,
    value,
    key,
    *,
    score,
    normalizer,
    mask=None,
    query_mask=None,
    rule=None,
    dropout=None,
    seed=None,
    first=None,
    pair_size=None,
    is_relative=True,
    variables=(),
    dot_scale=None,
    is_softmax=False,
):
    """Averages the values with the weights that the scores give them.

        weights = normalizer(score(query, key), mask);  context = dropout(weights) value

    Each row of weights depends on its own query alone. So where the weights are not wanted, the
    rows of large scores are computed in blocks of queries, and for a window with the keys near
    them alone: the same numbers, though scores `(..., T, S)` never exist as a whole. Plain dot
    products go to the fused kernel of the JAX backend where the machine has one.

    Args:
        query: Tensor `(..., T, D_query)`.
        value: Tensor `(..., S, D_value)`.
        key: Tensor `(..., S, D_key)`, or whatever structure of tensors the score takes; with a
            window, tensors with the axis of steps before the last.
        score: Function `(query, key, start) -> scores (..., T, S)`, or `(1, ..., T, S)` for all
            examples. `start` is the step of the first query, counted as the keys are.
        normalizer: Function `(scores, mask, seed) -> weights`, see `functional.normalize`.
        mask: Boolean tensor that broadcasts to `(..., T, S)`, or `None`.
        query_mask: Boolean tensor that broadcasts to `(..., T, 1)`, or `None`: apart, as both
            together are as large as the scores.
        rule: `functional.masks.Rule` or `None`, which steps see each other by their numbers.
        dropout: Function `(weights, seed)`, or `None`. The returned weights are those before it.
        seed: `SeedGenerator` of whatever is drawn, or `None`.
        first: Integer or scalar tensor, the step of the first query; `None` for S - T.
        pair_size: Integer, the numbers that the score computes for each pair of steps, or `None`
            for weights that are returned, and so computed whole.
        is_relative: Whether the score of some keys alone, from another `start`, is the same: then
            a window sees no others.
        variables: The variables that `score` and `normalizer` read; blocks alone ask for them.
        dot_scale: Float where the score is `dot_scale * query . key`, the normalizer the softmax
            and nothing is drawn, else `None`.
        is_softmax: Whether the normalizer is the softmax, which costs less where the weights are
            not wanted.

    Returns:
        The context `(..., T, D_value)` and, where `pair_size` is `None`, the weights
        `(..., T, S)`, else `None`.
    """
    if first is None:
        first = ops.shape(value)[-2] - ops.shape(query)[-2]

    def rows(query, start, parts, query_mask, seed, in_block=False, known=None):
        """Contexts and weights of some queries, the first with the number `start`.

        Of a block the context may be known, and its gradient alone be wanted.
        """
        at = ops.expand_dims(ops.arange(ops.shape(query)[-2], dtype="int32") + start, -1)  # (T, 1)
        scores = [
            with_shared(ops.matmul, query * dot_scale, part.key)
            if part.is_turned
            else score(query, part.key, start - part.first)
            for part in parts
        ]
        seen = [combine(_seen(part, at), query_mask) for part in parts]
        value = [part.value for part in parts]
        scores, seen, value = _joined(scores, -1), _joined(seen, -1), _joined(value, -2)
        if scores.shape[0] == 1 != value.shape[0]:
            # The same for the whole batch, as positions are: noise and dropout must not be.
            scores = ops.broadcast_to(scores, (ops.shape(value)[0], *ops.shape(scores)[1:]))
        if in_block and is_by_row and dropout is None:
            context, weights = softmax_average(scores, value, seen, known), None
        else:
            weights = softmax_of_rows(scores, seen) if is_by_row else normalizer(scores, seen, seed)
            weights = ops.cast(weights, value.dtype)
            context = average(weights if dropout is None else dropout(weights, seed), value)
        if is_by_row and not all_see:
            sees = ops.any(seen, axis=-1, keepdims=True)
            context = ops.where(sees, context, ops.zeros_like(context))
        return context, weights

    is_by_row = is_softmax and pair_size is not None and not is_for_tflite()
    keys = Keys(key, value, mask, rule)
    all_see = query_mask is None and _all_see(keys, first, ops.shape(query)[-2])
    if pair_size is None:
        return rows(query, first, [keys], query_mask, seed)
    if dot_scale is not None and blocks.is_on():
        context = fused.context(query, keys, dot_scale, query_mask, first)
        if context is not None:
            return context, None

    def context_of(*some, **kwargs):
        return rows(*some, **kwargs)[0]

    all_of_them = Blocks(context_of, query, keys, first, query_mask, seed, list(variables))
    is_dot = dot_scale is not None
    return blocks.walk(all_of_them, pair_size, is_relative, turns_key=is_dot), None


def _all_see(keys, first, steps):
    """Whether each of the queries is known to see a key: none is hidden, or by number alone."""
    if keys.mask is not None or keys.rule is None:
        return keys.mask is None
    length = ops.shape(keys.value)[-2]
    is_known = all(isinstance(x, int) for x in (first, steps, length))
    return is_known and first >= 0 and first + steps <= length  # a step sees itself


def _seen(keys, at):
    """The mask of some keys, for queries of the numbers `at`."""
    if keys.rule is None:
        return keys.mask
    numbers = ops.arange(ops.shape(keys.value)[-2], dtype="int32") + keys.first
    return combine(keys.mask, keys.rule(at, ops.expand_dims(numbers, 0)))


def _joined(parts, axis):
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)
