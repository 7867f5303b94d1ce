"""Multi-head attention, with groups of heads."""

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import AttentionLayer
from keras_attention.scores import ScaledDotScore


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttention(AttentionLayer):
    """Several attentions side by side, each in a projection of its own.

        head_h = softmax(Q_h K_g^T / sqrt(key_dim)) V_g;  output = sum_h head_h W_h + b

    where Q_h, K_g and V_g are linear projections of query, key and value, and g = h unless heads
    share keys and values in groups. A drop-in for `keras.layers.MultiHeadAttention`: the same
    argument names, and `ours.set_weights(theirs.get_weights())` gives the same output, but for
    queries with nothing to attend to (theirs average the padding; ours output the bias b alone)
    and causal masks with T != S (theirs align at the start). Costs O(B H T S) memory.

    Masking: see the contract at `AttentionLayer`. The query's mask is passed on.

    Args:
        num_heads: Positive integer H, the number of query heads.
        key_dim: Positive integer, the size of a head's queries and keys.
        value_dim: Positive integer, the size of a head's values; `None` for `key_dim`.
        num_key_value_heads: Positive integer that divides `num_heads`: this many heads of keys
            and values, each shared by a group of query heads (grouped-query attention; 1 is
            multi-query). `None` for `num_heads`.
        normalizer: As in `ContentAttention`.
        dropout: Float in `[0, 1)`, the fraction of attention weights dropped in training.
        use_bias: Whether the four projections have biases.
        output_shape: Positive integer or tuple, the shape of an output step; `None` for the
            query's size.
        kernel_initializer, bias_initializer: Initializers of the projections.
        kernel_regularizer, bias_regularizer: Regularizers of the projections, or `None`.
        kernel_constraint, bias_constraint: Constraints of the projections, or `None`.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask: Boolean `(B, T)`; a masked query gets a zero context.
        value_mask: Boolean `(B, S)`.
        key_mask: Boolean `(B, S)`.
        attention_mask: Boolean `(T, S)`, `(B, T, S)` or `(B, H, T, S)`.
        use_causal_mask: Whether a query sees no later step; aligned at the end.
        return_attention_scores: Whether to return the weights too (Keras' name for them).
        training: Whether to drop weights and to draw hard ones.

    Returns:
        A tensor `(B, T, D_query)`, or `(B, T, *output_shape)`; with `return_attention_scores` also
        the weights `(B, H, T, S)`, each row summing to one over the allowed steps.

    Example:
        >>> layer = ka.MultiHeadAttention(num_heads=4, key_dim=2, num_key_value_heads=2)
        >>> x = keras.ops.ones((2, 3, 8))
        >>> output, weights = layer(x, x, return_attention_scores=True)
        >>> tuple(output.shape), tuple(weights.shape)
        ((2, 3, 8), (2, 4, 3, 3))

    Reference:
        Vaswani et al., 2017, section 3.2.2, https://arxiv.org/abs/1706.03762
        Ainslie et al., 2023, section 2.2 (groups), https://arxiv.org/abs/2305.13245
        As in the papers, with biases as Keras has them.
    """

    def __init__(
        self,
        num_heads,
        key_dim,
        value_dim=None,
        num_key_value_heads=None,
        *,
        normalizer="softmax",
        dropout=0.0,
        use_bias=True,
        output_shape=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
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
        self.use_bias = bool(use_bias)
        # Not `self.output_shape`: Keras' functional models read an attribute of that name.
        self.step_shape = _step_shape(output_shape)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = checks.attention_shapes(query_shape, value_shape, key_shape)
        self.query_dense = self._dense_to_heads("query", self.num_heads, self.key_dim)
        self.key_dense = self._dense_to_heads("key", self.num_key_value_heads, self.key_dim)
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
        # Its own score would be built here, but a scaled dot product has no weights.
        self.dot_score = ScaledDotScore(dtype=self.dtype_policy, name="score")
        self.dot_score.build((None, None, self.key_dim), (None, None, self.key_dim))
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
        mask = masks.attention(
            query,
            value,
            query_mask,
            value_mask,
            key_mask,
            attention_mask,
            use_causal_mask,
            use_heads=True,
        )  # (B or 1, H or 1, T or 1, S)
        query, value, key = masks.blank_unseen(
            query, value, key, query_mask, value_mask, key_mask, attention_mask
        )

        query = ops.transpose(self.query_dense(query), (0, 2, 1, 3))  # (B, H, T, K)
        key = ops.transpose(self.key_dense(key), (0, 2, 1, 3))  # (B, G, S, K)
        value = ops.transpose(self.value_dense(value), (0, 2, 1, 3))  # (B, G, S, V)
        if self.num_key_value_heads == self.num_heads:
            context, weights = self._attend(query, value, key, mask, self.dot_score, training)
        else:
            context, weights = self._attend_in_groups(query, value, key, mask, training)
        context = ops.transpose(context, (0, 2, 1, 3))  # (B, T, H, V)
        output = self.output_dense(context)
        return (output, weights) if return_attention_scores else output

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "use_bias": self.use_bias,
            "output_shape": self.step_shape,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }

    def _attend_in_groups(self, query, value, key, mask, training):
        """Heads of one group share keys and values by broadcasting, never by a copy."""
        groups, heads = self.num_key_value_heads, self.num_heads

        def split(x, size):  # (B, H, ...) to (B, G, H / G, ...)
            shape = ops.shape(x)
            return ops.reshape(x, (shape[0], groups, heads // groups, shape[2], size))

        query = split(query, self.key_dim)
        key, value = ops.expand_dims(key, 2), ops.expand_dims(value, 2)  # (B, G, 1, S, K)
        if mask is not None and len(mask.shape) == 4:
            per_head = mask.shape[1] == heads
            mask = split(mask, ops.shape(mask)[3]) if per_head else ops.expand_dims(mask, 2)
        context, weights = self._attend(query, value, key, mask, self.dot_score, training)
        batch, steps = ops.shape(query)[0], ops.shape(query)[3]
        return (
            ops.reshape(context, (batch, heads, steps, self.value_dim)),
            ops.reshape(weights, (batch, heads, steps, ops.shape(weights)[4])),
        )

    def _dense_to_heads(self, name, num_heads, size):
        return self._dense(name, "abc,chk->abhk", (None, num_heads, size), "hk")

    def _dense(self, name, equation, output_shape, bias_axes):
        return keras.layers.EinsumDense(
            equation,
            output_shape=output_shape,
            bias_axes=bias_axes if self.use_bias else None,
            # Fresh copies: one initializer object gives kernels of one shape the same values.
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
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
