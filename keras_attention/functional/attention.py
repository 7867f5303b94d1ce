"""Score, normalize, average: the three steps of every attention, in one place."""

import dataclasses
import typing

from keras import ops

from keras_attention.functional.average import average
from keras_attention.functional.masks import Rule, combine, same_segment
from keras_attention.functional.normalize import softmax_of_rows
from keras_attention.target import is_for_tflite


@dataclasses.dataclass(frozen=True, eq=False)
class Keys:
    """The keys that queries are compared with, and the value of each.

    Attributes:
        key: Tensor `(..., S, D_key)`, or the structure of tensors that the score takes; for a rule
            with a window, tensors whose axis of steps is the one before the last.
        value: Tensor `(..., S, D_value)`.
        mask: Boolean tensor that broadcasts to `(..., T, S)`, or `None`.
        rule: `functional.masks.Rule`, a mask defined by positions, or `None`.
        start: Integer or scalar tensor, the position of the first key; 0 where there is a rule.
        segments: int32 tensor that broadcasts to `(..., 1, S)`, or `None`: see `masks.segments`.
    """

    key: typing.Any
    value: typing.Any
    mask: typing.Any = None
    rule: Rule | None = None
    start: typing.Any = 0
    segments: typing.Any = None

    @property
    def has_pair_mask(self):
        """Whether the mask differs between queries, and so is as large as the scores."""
        return self.mask is not None and len(self.mask.shape) > 1 and self.mask.shape[-2] != 1

    def mask_of_queries(self, start, steps):
        """The mask for T queries from `start` on, by the rule too: it broadcasts to
        `(..., T, S)`, or is `None`.
        """
        if self.rule is None:
            return self.mask
        queries = ops.arange(steps, dtype="int32") + start  # (T,)
        keys = ops.arange(ops.shape(self.value)[-2], dtype="int32")  # (S,)
        by_rule = self.rule(ops.expand_dims(queries, -1), ops.expand_dims(keys, 0))  # (T, S)
        return combine(self.mask, by_rule)


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """The three steps, as functions, and what is known of them.

    Attributes:
        score: Function `(query, key, start) -> scores (..., T, S)`, or `(1, ..., T, S)` for all
            examples. `start` is the position of the first query, counted from the first key.
        normalize: Function `(scores, mask, seed) -> weights`, see `functional.normalize`.
        dropout: Function `(weights, seed) -> weights`, or `None`.
        pair_size: Integer, the numbers that the score computes for each pair of steps.
        is_relative: Whether the score of some keys alone, from another `start`, is the same: then
            keys outside of a window need not be scored.
        is_softmax: Whether `normalize` is the softmax, which costs less without the weights.
        dot_scale: Float where the score is `dot_scale * query . key`, `normalize` the softmax and
            no weight is dropped, else `None`.
        variables: The variables that `score` and `normalize` read; needed in blocks alone.
    """

    score: typing.Callable
    normalize: typing.Callable
    dropout: typing.Callable | None = None
    pair_size: int = 1
    is_relative: bool = True
    is_softmax: bool = False
    dot_scale: float | None = None
    variables: typing.Sequence = ()


@dataclasses.dataclass(eq=False)
class Attention:
    """All that one call computes from. Each row of weights depends on its own query alone.

        weights = normalize(score(query, key), mask);  context = dropout(weights) value

    Attributes:
        steps: `Steps`.
        query: Tensor `(..., T, D_query)`.
        keys: `Keys`.
        start: Integer or scalar tensor, the position of the first query; `None` for S - T, so that
            the last query has the position of the last key.
        query_mask: Boolean tensor that broadcasts to `(..., T, 1)`, or `None`: not part of the
            mask of the keys, as both together are as large as the scores.
        segments: int32 tensor that broadcasts to `(..., T, 1)`: a query attends to the keys of its
            own segment alone, itself among them; or `None`, as in the keys.
        seed: `SeedGenerator` of dropout and of a random normalizer, or `None`.
        all_see: Whether each query is known to see a key; `None` to find out.
    """

    steps: Steps
    query: typing.Any
    keys: Keys
    start: typing.Any = None
    query_mask: typing.Any = None
    segments: typing.Any = None
    seed: typing.Any = None
    all_see: bool | None = None

    def __post_init__(self):
        if self.start is None:
            self.start = ops.shape(self.keys.value)[-2] - ops.shape(self.query)[-2]
        if self.all_see is None:
            self.all_see = self.query_mask is None and self._all_see_by_position()

    def with_weights(self):
        """The context `(..., T, D_value)` and the weights `(..., T, S)`, those before dropout."""
        steps, value = self.steps, self.keys.value  # (..., S, D_value)
        scores, mask = self._scores()  # (..., T, S) and what broadcasts to it
        weights = ops.cast(steps.normalize(scores, mask, self.seed), value.dtype)  # (..., T, S)
        kept = weights if steps.dropout is None else steps.dropout(weights, self.seed)
        return average(kept, value), weights

    def context(self, average_rows=None):
        """The context `(..., T, D_value)` alone, which with the softmax costs less.

        Args:
            average_rows: Function `(scores, value, mask) -> context` that does the last two steps
                in one, for rows that each see a key; or `None`.
        """
        if not self.steps.is_softmax or is_for_tflite():
            return self.with_weights()[0]
        dropout, value = self.steps.dropout, self.keys.value  # (..., S, D_value)
        scores, mask = self._scores()  # (..., T, S) and what broadcasts to it
        if dropout is None and average_rows is not None:
            context = average_rows(scores, value, mask)  # (..., T, D_value)
        else:
            weights = ops.cast(softmax_of_rows(scores, mask), value.dtype)  # (..., T, S)
            kept = weights if dropout is None else dropout(weights, self.seed)
            context = average(kept, value)  # (..., T, D_value)
        if self.all_see:
            return context
        sees = ops.any(mask, axis=-1, keepdims=True)  # (..., T, 1)
        return ops.where(sees, context, ops.zeros_like(context))

    def _scores(self):
        """The scores `(..., T, S)`, and the mask that broadcasts to them, or `None`."""
        query, keys = self.query, self.keys
        is_first = isinstance(keys.start, int) and keys.start == 0  # then there is no operation
        start = self.start if is_first else self.start - keys.start
        scores = self.steps.score(query, keys.key, start)
        if scores.shape[0] == 1 != keys.value.shape[0]:
            # The same for the whole batch, as positions are: noise and dropout must not be.
            batch = ops.shape(keys.value)[0]
            scores = ops.broadcast_to(scores, (batch, *ops.shape(scores)[1:]))
        mask = keys.mask_of_queries(self.start, ops.shape(query)[-2])
        by_segment = same_segment(self.segments, keys.segments)  # (..., T, S) or `None`
        return scores, combine(mask, by_segment, self.query_mask)

    def _all_see_by_position(self):
        """Whether no key is masked and each query sees one by its position."""
        if self.keys.mask is not None:
            return False
        if self.keys.rule is None and self.segments is None:
            return True
        start, steps = self.start, ops.shape(self.query)[-2]
        length = ops.shape(self.keys.value)[-2]
        is_known = all(isinstance(x, int) for x in (start, steps, length))
        return is_known and start >= 0 and start + steps <= length  # a step sees itself
