"""Local attention: soft inside a window, whose place is known or predicted."""

import keras
from keras import ops

from keras_attention import checks
from keras_attention.dense import Dense
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.blocks import when_large
from keras_attention.layers.base import AttentionLayer

CENTERS = ("predictive", "monotonic")


@keras.saving.register_keras_serializable(package="keras_attention")
class LocalAttention(AttentionLayer):
    """Each query step averages the values near one step, and scores only those.

        monotonic:   p_t = t
        predictive:  p_t = S sigmoid(v . tanh(W q_t))      W: (D_query, U), v: (U)
        weights = normalizer(score(q_t, k_s)) over |s - p_t| <= half_width
        predictive:  weights = weights exp(-(s - p_t)^2 / (2 sigma^2)),  sigma = half_width / 2

    The Gaussian lets the predicted centre learn, and its weights sum to less than one, as in the
    paper. Steps count from 0, of queries as of values, also where T and S differ. S is the length
    of each example, not of the padded tensor: padding is not counted, be it at the end, at the
    beginning or in between. The predicted centre goes by the steps that its query may see, so that
    a causal mask hides also how long the future is; a monotonic one goes by those that any query
    may see, t likewise by the query's mask. A query whose window holds no allowed step gets zeros.
    Costs O(B T S) memory where that is little or the weights are returned, else O(B T W D) for
    windows of W steps.

    Masking: see the contract at `AttentionLayer`. The query's mask is passed on.

    Args:
        half_width: Positive integer, how many steps the window reaches to each side.
        score: As in `ContentAttention`.
        center: `"predictive"` (the paper's local-p) or `"monotonic"` (local-m), for sequences
            that go side by side. A decoder that asks for one step a call needs `"predictive"`.
        units: Positive integer U, the size of the hidden layer that predicts the centre; `None`
            for the size of the query, and for `"monotonic"`, which has none.
        normalizer: As in `ContentAttention`.
        dropout: Float in `[0, 1)`, the fraction of attention weights dropped in training.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        As for `ContentAttention`.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one in a monotonic window and to less in a predicted one.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.LocalAttention(half_width=1, score="bilinear")
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape), tuple(layer.centers(query, value).shape)
        ((2, 3, 4), (2, 3, 5), (2, 3))

    Reference:
        Luong, Pham & Manning, 2015, section 3.2, eq. 9 and 10, https://arxiv.org/abs/1508.04025
        As in the paper, with steps counted from 0.
    """

    def __init__(
        self,
        half_width,
        score="scaled_dot",
        center="predictive",
        units=None,
        normalizer="softmax",
        dropout=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.half_width = checks.positive_integer("half_width", half_width)
        if center not in CENTERS:
            raise ValueError(
                f"`center` must be one of {', '.join(map(repr, CENTERS))}. "
                f"Received: center={center!r}"
            )
        self.center = center
        self.units = checks.positive_integer("units", units, optional=True)
        if center == "monotonic" and units is not None:
            raise ValueError(
                f"A monotonic centre has no hidden layer. Received: center={center!r}, "
                f"units={units}"
            )

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        self._build_score(query_shape, key_shape)
        if self.center == "predictive":
            units = self.units or query_shape[-1]
            # In float32 whatever the policy: bfloat16 can't tell step 300 from step 301.
            options = {"use_bias": False, "dtype": "float32"}
            self.hidden_dense = Dense(units, "tanh", name="center_hidden", **options)
            self.center_dense = Dense(1, name="center", **options)
            self.hidden_dense.build(query_shape)
            self.center_dense.build((*query_shape[:-1], units))
        self.built = True

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        use_causal_mask=False,
        return_attention_scores=False,
        training=None,
    ):
        given = query_mask, value_mask, key_mask, attention_mask
        tensors = [query, value] if key is None else [query, value, key]

        def whole(tensors, seed):
            query, value, *key = tensors
            key = key[0] if key else None
            seen, mask, steps, centers = self._locate(query, value, key, *given, use_causal_mask)
            offset = steps - centers  # (B or 1, T, S)
            prepare, score = self.score.by_rows()
            return self._average(*seen[:2], prepare(seen[2]), score, mask, offset, seed)

        def near(tensors, seed):
            query, value, *key = tensors
            key = key[0] if key else None
            found = masks.blank_unseen(query, value, key, *given)
            return self._attend_near(*found, *given[:3], use_causal_mask, seed)

        seed = self._seed(training)
        if return_attention_scores:
            return whole(tensors, seed)
        if attention_mask is not None or not self.score.is_relative:
            return whole(tensors, seed)[0]
        batch, steps = ops.shape(query)[:2]
        length = ops.shape(value)[1]
        # Near keys and values are copied for each query: only where that is less than its scores.
        copied = self._width * ((value if key is None else key).shape[-1] + value.shape[-1])
        # JAX's symbol for an unknown length cannot be compared.
        is_known = isinstance(length, int) or ops.is_tensor(length)
        return when_large(
            [batch, steps, length, 4 * self.score.pair_size],
            near,
            lambda tensors, seed: whole(tensors, seed)[0],
            tensors,
            seed,
            self.weights,
            only_if=is_known and length > copied,
        )

    @property
    def _width(self):
        return 2 * self.half_width + 1

    def _average(self, query, value, key, score, mask, offset, seed):
        """Context and weights over steps at an `offset` from the centres."""

        def normalize_near(scores, mask, seed):
            weights = self._normalize(scores, mask, seed)
            if self.center == "monotonic":
                return weights
            sigma = self.half_width / 2
            return ops.cast(weights, "float32") * ops.exp(-0.5 * ops.square(offset / sigma))

        return attend(
            query,
            value,
            key,
            score=score,
            normalizer=normalize_near,
            mask=masks.combine(mask, masks.window(offset, self.half_width)),
            dropout=self._drop if self.dropout and seed is not None else None,
            seed=seed,
        )

    def _attend_near(
        self, query, value, key, query_mask, value_mask, key_mask, use_causal_mask, seed
    ):
        """The context alone, from the steps in each query's window alone: `(B, T, W)` of them."""
        steps, total = ops.shape(query)[1], ops.shape(value)[1]
        visible = masks.of_steps("value", value, value_mask=value_mask, key_mask=key_mask)
        if visible is None:
            visible = ops.ones((1, total), dtype="bool")
        # The n-th visible step, and how many there are up to each step.
        places = ops.argsort(
            ops.where(visible, 0, total) + ops.arange(total, dtype="int32"), axis=-1
        )  # (B or 1, S)
        count = ops.cumsum(ops.cast(visible, "int32"), axis=-1)
        last = ops.arange(steps, dtype="int32") + (total - steps if use_causal_mask else total)
        seen = ops.where(
            last < 0, 0, ops.take(count, ops.clip(last, 0, total - 1), axis=1)
        )  # (B or 1, T), the steps that each query may see
        if self.center == "monotonic":
            centers = _count(query_mask, query)[0]  # (B or, without a mask, none, T)
            centers = ops.broadcast_to(centers, ops.shape(query)[:2])
        else:
            place = ops.squeeze(self.center_dense(self.hidden_dense(query)), -1)  # (B, T)
            centers = ops.cast(seen, "float32") * ops.sigmoid(place)
        low = ops.ceil(centers - self.half_width)
        numbers = ops.expand_dims(low, -1) + ops.arange(self._width, dtype="float32")  # (B, T, W)
        offset = numbers - ops.expand_dims(centers, -1)
        numbers = ops.cast(numbers, "int32")
        allowed = ops.logical_and(numbers >= 0, numbers < ops.expand_dims(seen, -1))
        if query_mask is not None:
            allowed = ops.logical_and(allowed, ops.expand_dims(query_mask, -1))
        flat = ops.reshape(ops.clip(numbers, 0, total - 1), (ops.shape(query)[0], -1))
        places = ops.broadcast_to(places, (ops.shape(query)[0], total))
        flat = ops.take_along_axis(places, ops.cast(flat, places.dtype), axis=1)  # (B, T W)

        def gather(x):
            found = ops.take_along_axis(x, ops.expand_dims(flat, -1), axis=1)
            return ops.reshape(found, (-1, steps, self._width, x.shape[-1]))

        prepare, score = self.score.by_rows()
        key = keras.tree.map_structure(gather, prepare(key))
        allowed, offset, query = (ops.expand_dims(x, 2) for x in (allowed, offset, query))
        context, _ = self._average(query, gather(value), key, score, allowed, offset, seed)
        return ops.squeeze(context, 2)

    def centers(
        self,
        query,
        value,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        use_causal_mask=False,
    ):
        """The centres p_t of the windows, float32 `(B, T)`, for a built layer.

        They count steps from 0 and leave out padding; the arguments are those of the call.
        """
        given = query_mask, value_mask, key_mask, attention_mask
        *_, centers = self._locate(query, value, None, *given, use_causal_mask)
        return ops.broadcast_to(ops.squeeze(centers, -1), ops.shape(query)[:2])

    def get_config(self):
        return {
            **super().get_config(),
            "half_width": self.half_width,
            "center": self.center,
            "units": self.units,
        }

    def _locate(
        self, query, value, key, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
    ):
        """What is seen of query, value and key, the whole mask, the numbers of the value steps
        `(B or 1, T or 1, S)`, and the centres.
        """
        given = query_mask, value_mask, key_mask, attention_mask
        mask = masks.attention(query, value, *given, use_causal_mask)
        seen = query, value, key = masks.blank_unseen(query, value, key, *given)
        if self.center == "monotonic":
            visible = masks.seen(value_mask, key_mask, attention_mask)
            steps = ops.expand_dims(_count(visible, value)[0], -2)
            return seen, mask, steps, ops.expand_dims(_count(query_mask, query)[0], -1)
        steps, length = _count(mask, value)
        place = self.center_dense(self.hidden_dense(query))  # (B, T, 1), float32
        return seen, mask, steps, length * ops.sigmoid(place)


def _count(mask, x):
    """Numbers from 0 of the steps that a mask allows, `(..., S)`, and how many there are."""
    mask = ops.ones(ops.shape(x)[1:2]) if mask is None else mask
    count = ops.cumsum(ops.cast(mask, "float32"), axis=-1)
    return count - 1.0, count[..., -1:]
