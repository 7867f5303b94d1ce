"""Multi-head attention, with groups of heads, positions and a KV cache for decoding."""

import dataclasses
from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.dense import EinsumDense
from keras_attention.functional import masks
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Keys
from keras_attention.functional.shapes import reshape
from keras_attention.layers.base import WindowedLayer
from keras_attention.layers.cached_steps import CachedSteps
from keras_attention.layers.head_groups import get_position, score_of_heads, split_heads
from keras_attention.layers.rotary_position_embedding import RotaryPositionEmbedding
from keras_attention.scores.score import Score
from keras_attention.types import (
    Constraint,
    Initializer,
    NameAndType,
    Normalizer,
    Outputs,
    Regularizer,
    Tensor,
)


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttention(CachedSteps, WindowedLayer):
    """Multi-head attention: several heads at once, each on projections of query, key and value.

        head_h = softmax(Q_h K_g^T / sqrt(key_dim)) V_g;  output = sum_h head_h W_h + b

    where Q_h, K_g and V_g are linear projections of query, key and value, and g = h unless heads
    share keys and values in groups. Costs O(B H T S) memory.

    **Coming from `keras.layers.MultiHeadAttention`.** Its arguments have the same names and the
    same positions here, and `ours.set_weights(theirs.get_weights())` gives the same output, but for
    three differences. A query with nothing to attend to gets the bias b alone (theirs averages the
    padding). Causal masks and windows with T != S are aligned at the end (theirs at the start). And
    attention runs over one axis, so that inputs have three: `attention_axes` is refused.

    **Positions.** Attention alone does not know the order of the steps. With a `position` queries
    and keys are rotated, or scores of their distance are added to the scaled dot product. Positions
    are aligned at the end: the query's last step has the position of the key's last step.

    **Decoding.** A KV cache keeps keys and values, so that a step costs O(M) and not O(M^2) for M
    steps. It is a dict of plain tensors whose first axis is the batch. The prompt is written at
    index 0 in one call, each later step at the next index; `index` may be a tensor in a loop. Pad
    prompts of unequal lengths at the left, so that all end together.

        cache = layer.initial_cache(batch_size, max_length)
        output, cache = layer.step(prompt, cache, 0, query_mask)  # (B, T, D)
        output, cache = layer.step(x, cache, T)  # (B, 1, D), the same as a causal call's last

    Cross-attention reads a memory that is projected once: `cache = layer.memory_cache(value)`,
    `output, cache = layer.step(x, cache)`.

    Masking: see the layer contract (docs/contract.md). The query's mask is passed on.

    Args:
        num_heads: Positive integer H, the number of query heads.
        key_dim: Positive integer, the size of a head's queries and keys.
        value_dim: Positive integer, the size of a head's values; `None` for `key_dim`.
        dropout: Float in `[0, 1)`, the dropout rate of the attention weights in training.
        use_bias: Whether the projections have biases.
        output_shape: Positive integer or tuple, the shape of an output step; `None` for the
            query's size.
        attention_axes: `None`, or 1, the axis of the steps. Fold further axes into the batch or
            into the steps by `keras.layers.Reshape`.
        sliding_window: Keras' name for `window`; give one of the two.
        flash_attention: Accepted and kept in the config, without effect: a fused kernel is used
            wherever the machine has one, see `ka.query_blocks`.
        kernel_initializer, bias_initializer: Initializers of the projections.
        kernel_regularizer, bias_regularizer: Regularizers of the projections, or `None`.
        activity_regularizer: Regularizer of the projections' outputs, or `None`.
        kernel_constraint, bias_constraint: Constraints of the projections, or `None`.
        use_gate: Whether each head's context is multiplied by a gate `sigmoid(query W_g + b_g)`.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.
        num_key_value_heads: Positive integer that divides `num_heads`: this many heads of keys
            and values, each shared by a group of query heads (grouped-query attention; 1 is
            multi-query). `None` for `num_heads`.
        position: A `RotaryPositionEmbedding`, a `Score` of distances such as `ALiBiScore` or
            `RelativePositionScore`, or `None`. A score is called with the query `(B, H, T, K)` and
            the key `(B, G, S, K)` for G heads of keys and returns what broadcasts to
            `(B, H, T, S)`.
        window: Positive integer W, a sliding window: steps W or more apart do not attend to each
            other; `None` for no window. With a causal mask a step attends to itself and the W - 1
            before it. Costs O(T W) then, unless weights are returned.
        num_global: Integer: the first `num_global` steps attend to, and are attended by, all,
            despite the window (unless the causal mask hides them).
        normalizer: As in `ContentAttention`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask, attention_mask: Boolean masks, as in the contract.
        segment_ids: Integers `(B, T)`, as in the contract.
        use_causal_mask, return_attention_scores, training: As in the contract.

    Returns:
        A tensor `(B, T, D_query)`, or `(B, T, *output_shape)`; with `return_attention_scores` also
        the weights `(B, H, T, S)`, each row summing to one over the allowed steps.

    Raises:
        ValueError: If a number is out of range or `normalizer` unknown; if `num_key_value_heads`
            does not divide `num_heads`; if `key_dim` is odd with rotary positions; if `position` is
            something else; if `attention_axes` is not the axis of the steps; if `output_shape` has
            more than 4 axes; if both `window` and `sliding_window` are given, or `num_global`
            without a window; if the tensors do not fit each other; if a mask has a float dtype or
            another shape.

    Example:
        >>> layer = ka.MultiHeadAttention(num_heads=4, key_dim=2, num_key_value_heads=2)
        >>> x = keras.ops.ones((2, 3, 8))
        >>> output, weights = layer(x, x, return_attention_scores=True)
        >>> tuple(output.shape), tuple(weights.shape)
        ((2, 3, 8), (2, 4, 3, 3))

    Reference:
        Vaswani et al., 2017, section 3.2.2, https://arxiv.org/abs/1706.03762
        Ainslie et al., 2023, section 2.2 (groups), https://arxiv.org/abs/2305.13245
        Su et al., 2021, eq. 16 (rotary), https://arxiv.org/abs/2104.09864
        Press, Smith & Lewis, 2022, section 3 (ALiBi), https://arxiv.org/abs/2108.12409
        Qiu et al., 2025, section 2.2 (gate), https://arxiv.org/abs/2505.06708
        As in the papers, with biases as Keras has them.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | tuple[int, ...] | None = None,
        attention_axes: int | tuple[int, ...] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        use_gate: bool = False,
        seed: int | None = None,
        *,
        num_key_value_heads: int | None = None,
        position: RotaryPositionEmbedding | Score | None = None,
        window: int | None = None,
        num_global: int = 0,
        normalizer: Normalizer = "softmax",
        **kwargs: Unpack[NameAndType],
    ) -> None:
        if sliding_window is not None and window is not None:
            raise ValueError(
                "`sliding_window` is Keras' name for `window`: give one of them. Received: "
                f"sliding_window={sliding_window}, window={window}"
            )
        window = checks.positive_integer("sliding_window", sliding_window, optional=True) or window
        if attention_axes not in (None, 1, (1,), [1]):
            raise ValueError(
                "`attention_axes` must be `None` or 1: attention runs over the axis of the steps. "
                "Fold further axes into the batch or into the steps by `keras.layers.Reshape`. "
                f"Received: attention_axes={attention_axes}"
            )
        super().__init__(
            normalizer=normalizer,
            dropout=dropout,
            seed=seed,
            window=window,
            num_global=num_global,
            **kwargs,
        )
        self.num_heads = checks.positive_integer("num_heads", num_heads)
        self.key_dim = checks.positive_integer("key_dim", key_dim)
        self.value_dim = checks.positive_integer("value_dim", value_dim, optional=True) or key_dim
        self.num_key_value_heads = (
            checks.positive_integer("num_key_value_heads", num_key_value_heads, optional=True)
            or num_heads
        )
        if num_heads % self.num_key_value_heads:
            raise ValueError(
                "`num_key_value_heads` must divide `num_heads`. Received: "
                f"num_key_value_heads={num_key_value_heads}, num_heads={num_heads}"
            )
        self.position = get_position(position)
        self._is_rotary = isinstance(self.position, RotaryPositionEmbedding)
        if self._is_rotary and key_dim % 2:
            raise ValueError(
                "`RotaryPositionEmbedding` rotates pairs of features, so `key_dim` must be even. "
                f"Received: key_dim={key_dim}"
            )
        self.use_bias = bool(use_bias)
        self.use_gate = bool(use_gate)
        self.flash_attention = flash_attention
        # Not `self.output_shape`: Keras' functional models read an attribute of that name.
        self.step_shape = _step_shape(output_shape)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        # Not `self.activity_regularizer`: Keras would regularize this layer's output by it.
        self.projection_regularizer = keras.regularizers.get(activity_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        self.query_dense = self._dense_to_heads("query", self.num_heads, self.key_dim)
        self.key_dense = self._dense_to_heads("key", self.num_key_value_heads, self.key_dim)
        # In the order in which Keras' layer makes them, so that lists of weights fit.
        self.gate_dense = None
        if self.use_gate:
            self.gate_dense = self._dense_to_heads(
                "gate", self.num_heads, self.value_dim, "sigmoid"
            )
            self.gate_dense.build(query_shape)
        self.value_dense = self._dense_to_heads("value", self.num_key_value_heads, self.value_dim)
        self.query_dense.build(query_shape)
        self.key_dense.build(key_shape)
        self.value_dense.build(value_shape)
        step_shape = self.step_shape or (query_shape[-1],)
        axes = "defg"[: len(step_shape)] if len(step_shape) <= 4 else None
        self.output_dense = self._dense(
            "attention_output", f"abhk,hk{axes}->ab{axes}", (None, *step_shape), axes
        )
        self.output_dense.build((*query_shape[:2], self.num_heads, self.value_dim))
        self.score_of_heads = score_of_heads(
            self.position, self.num_heads, self.num_key_value_heads, self.key_dim, self.dtype_policy
        )
        self.built = True

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Attends from all queries to all values, in each head.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D_query)`.
            value: Float tensor `(B, S, D_value)`.
            key: Float tensor `(B, S, D_key)`; the value if `None`.

        Returns:
            The output `(B, T, D_query)`, or `(B, T, *output_shape)`; with `return_attention_scores`
            a tuple of it and the weights `(B, H, T, S)`.
        """
        query, value, key = self.floats(query, value, key)
        given = query_mask, value_mask, key_mask, attention_mask
        mask, query_mask = masks.key_and_query_masks(query, value, *given, self.num_heads)
        # (B or 1, H or 1, T or 1, S) and (B, 1, T, 1)
        segments, of_keys = masks.segments(segment_ids, query, value, self.num_heads)
        query, value, key = masks.blank_unseen(query, value, key, *given)

        rule = self._rule(use_causal_mask, query, value)
        gate = self.gate_dense(query) if self.use_gate else None  # (B, T, H, V)
        start = ops.shape(value)[1] - ops.shape(query)[1]  # the position of the first query
        query = self._to_heads(query, self.query_dense, start)  # (B, H, T, K)
        key = self._to_heads(key, self.key_dense, 0)  # (B, G, S, K)
        value = self._to_heads(value, self.value_dense)  # (B, G, S, V)
        keys = Keys(key, value, mask, rule, segments=of_keys)
        of_queries = {"start": start, "query_mask": query_mask, "segments": segments}
        context, weights = self._attend_heads(
            query, keys, of_queries, return_attention_scores, training
        )  # (B, T, H, V) and (B, H, T, S)
        output = self._output(context, gate)  # (B, T, *output_shape)
        return (output, weights) if return_attention_scores else output

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "position": self.position and keras.saving.serialize_keras_object(self.position),
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
            "output_shape": self.step_shape,
            "attention_axes": None,  # the only one there is
            "sliding_window": None,  # it is `window`
            "flash_attention": self.flash_attention,
            "activity_regularizer": keras.regularizers.serialize(self.projection_regularizer),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }

    @property
    def uses_positions(self) -> bool:
        """Whether the output for a query depends on its position among the others."""
        return self.position is not None or super().uses_positions

    def _to_heads(self, x, dense, start=None):
        """Projects `(B, T, D)` to `(B, heads, T, size)`, rotated if a position `start` is given."""
        x = ops.transpose(dense(x), (0, 2, 1, 3))  # (B, heads, T, size)
        if self._is_rotary and start is not None:
            x = ops.cast(self.position(x, start_index=start), self.compute_dtype)
        return x

    def _attend_heads(self, query, keys, of_queries, return_weights, training=False):
        """Contexts `(B, T, H, V)` and weights `(B, H, T, S)`.

        Heads of one group share keys and values by broadcasting, never by a copy. `of_queries` is
        what an `Attention` knows of its queries: `start`, `query_mask` and `segments`.
        """
        groups, heads = self.num_key_value_heads, self.num_heads
        batch, steps = ops.shape(query)[0], ops.shape(query)[2]
        if groups != heads:  # (B, G, H / G, T, K) and (B, G, 1, S, _)
            query, mask, segments = (
                split_heads(x, groups) for x in (query, keys.mask, keys.segments)
            )
            key, value = ops.expand_dims(keys.key, 2), ops.expand_dims(keys.value, 2)
            keys = dataclasses.replace(keys, key=key, value=value, mask=mask, segments=segments)
            masks_of_queries = ("query_mask", "segments")
            split = {name: split_heads(of_queries[name], groups) for name in masks_of_queries}
            of_queries = of_queries | split
        attention = self._attention(query, keys, self.score_of_heads, training, **of_queries)
        context, weights = attend(attention, return_weights)
        if groups != heads:
            context = reshape(context, (batch, heads, steps, self.value_dim))
        if groups != heads and return_weights:
            weights = reshape(weights, (batch, heads, steps, ops.shape(weights)[-1]))
        return ops.transpose(context, (0, 2, 1, 3)), weights

    def _output(self, context, gate):
        """The output `(B, T, D)` from contexts `(B, T, H, V)` and their gate or `None`."""
        return self.output_dense(context if gate is None else context * gate)

    def _dense_to_heads(self, name, num_heads, size, activation=None):
        return self._dense(name, "abc,chk->abhk", (None, num_heads, size), "hk", activation)

    def _dense(self, name, equation, output_shape, bias_axes, activation=None):
        return EinsumDense(
            equation,
            output_shape=output_shape,
            activation=activation,
            bias_axes=bias_axes if self.use_bias else None,
            # Fresh copies: one initializer object gives kernels of one shape the same values.
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self.projection_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            name=name,
        )


def _step_shape(output_shape):
    if output_shape is None:
        return None
    sizes = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
    if not 1 <= len(sizes) <= 4:
        raise ValueError(
            f"`output_shape` must have 1 to 4 axes. Received: output_shape={output_shape!r}"
        )
    return tuple(checks.positive_integer("output_shape", size) for size in sizes)
