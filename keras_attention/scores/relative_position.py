"""Relative position score."""

import math
from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import positions
from keras_attention.scores.score import Score
from keras_attention.types import Initializer, LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class RelativePositionScore(Score):
    """Relative position score (Shaw; T5's bias with buckets): learned for each distance.

        clipped:   score(t, s) = q_t . a_clip(s - t, -k, k) / sqrt(D)      a: (2 k + 1, D)
        bucketed:  score_h(t, s) = b_h,bucket(s - t)                       b: (H, num_buckets)

    where k is `max_distance`. The first form has one vector per distance, which all heads share,
    and depends on the query. The second is one number per head and bucket; the buckets grow wider
    with the distance. Of the keys only their number counts; add the score to a content score with
    `+`. The last query has the position of the last key. Larger distances count as `max_distance`,
    so there is no maximum length. Costs O(T k D) time for the first form, and O(T S) memory per
    head.

    Args:
        max_distance: Positive integer k, the largest distance with its own vector or bucket.
        num_buckets: `None` for one vector per distance, or an integer of at least 4 (2 with
            `use_causal_buckets`) for one number per head and bucket.
        use_causal_buckets: Whether all buckets are for keys before the query, for use with a causal
            mask. By default half are for keys after it.
        kernel_initializer: Initializer of a or b.

    Call arguments:
        query: Tensor `(B, T, D)`, or with heads `(B, H, T, D)`.
        key: Tensor `(B, S, D)`, or with heads `(B, G, S, D)`.
        start: Integer or scalar tensor, the position of the first query; `None` for S - T.

    Returns:
        Scores `(B, T, S)`, with heads `(B, H, T, S)`; in buckets the same for the whole batch,
        so that B is 1.

    Raises:
        ValueError: If `max_distance` or `num_buckets` is not a positive integer; if `max_distance`
            is not above a quarter of `num_buckets` (half with `use_causal_buckets`), or that
            fraction is below 1; if `use_causal_buckets` is given without `num_buckets`.

    Example:
        >>> score = ka.ScaledDotScore() + ka.RelativePositionScore(max_distance=4)
        >>> score(keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 6))).shape == (2, 3, 5)
        True

    Reference:
        Shaw, Uszkoreit & Vaswani, 2018, eq. 4 and 5, https://arxiv.org/abs/1803.02155 (clipped)
        Its eq. 4 is this score plus a scaled dot product; its term for the values (eq. 3) is not
        part of a score.
        Raffel et al., 2020, section 2.1, https://arxiv.org/abs/1910.10683 (bucketed)
    """

    def __init__(
        self,
        max_distance: int,
        num_buckets: int | None = None,
        use_causal_buckets: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.max_distance = checks.positive_integer("max_distance", max_distance)
        self.num_buckets = checks.positive_integer("num_buckets", num_buckets, optional=True)
        self.use_causal_buckets = bool(use_causal_buckets)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if num_buckets is None:
            if use_causal_buckets:
                raise ValueError(
                    "`use_causal_buckets` needs buckets. Received: "
                    "use_causal_buckets=True, num_buckets=None"
                )
            return
        exact = num_buckets // (2 if use_causal_buckets else 4)  # buckets of one distance each
        if not 1 <= exact < max_distance:
            share = "half" if use_causal_buckets else "a quarter"
            raise ValueError(
                f"`max_distance` must be above {share} of `num_buckets`, and that at least 1. "
                f"Received: max_distance={max_distance}, num_buckets={num_buckets}"
            )

    def build(self, query_shape, key_shape):
        if self.num_buckets is None:
            shape = (2 * self.max_distance + 1, query_shape[-1])
        else:
            shape = (query_shape[-3] if len(query_shape) > 3 else 1, self.num_buckets)
        self.distance_kernel = self.add_weight(
            name="distance_kernel", shape=shape, initializer=self.kernel_initializer
        )
        self.built = True

    uses_positions = True

    def compare(self, query: Tensor, key: Tensor, start: int | Tensor) -> Tensor:
        """The scores, `(B, T, S)` or with heads `(B, H, T, S)`; see `Score.compare`."""
        steps = ops.shape(query)[-2], ops.shape(key)[-2]
        distance = positions.distances(*steps, start)  # (T, S)
        kernel = ops.cast(self.distance_kernel, query.dtype)
        if self.num_buckets is not None:
            bucket = positions.relative_buckets(
                distance, self.num_buckets, self.max_distance, not self.use_causal_buckets
            )
            scores = ops.take(kernel, bucket, axis=1)  # (H, T, S)
            return ops.expand_dims(scores, 0) if len(query.shape) > 3 else scores
        query = query * (1.0 / math.sqrt(query.shape[-1]))
        scores = ops.matmul(query, ops.transpose(kernel))  # (..., T, 2 k + 1)
        index = ops.clip(distance, -self.max_distance, self.max_distance) + self.max_distance
        index = ops.broadcast_to(index, (*ops.shape(query)[:-2], *steps))
        if 0 in index.shape:  # TensorFlow gathers from no row only where there is nothing to gather
            return ops.zeros(ops.shape(index), scores.dtype)
        return ops.take_along_axis(scores, index, axis=-1)  # (..., T, S)

    def get_config(self):
        return {
            **super().get_config(),
            "max_distance": self.max_distance,
            "num_buckets": self.num_buckets,
            "use_causal_buckets": self.use_causal_buckets,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
