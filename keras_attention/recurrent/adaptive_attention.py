"""Attention that may look away."""

import keras
from keras import ops

from keras_attention.dense import Dense
from keras_attention.recurrent.additive import AdditiveRecurrentAttention
from keras_attention.recurrent.sentinel_gate import SentinelGate


@keras.saving.register_keras_serializable(package="keras_attention")
class AdaptiveAttention(AdditiveRecurrentAttention):
    """Additive attention with one more thing to attend to: a sentinel, what the decoder knows.

        z_ti = w_h . tanh(W_v v_i + W_g h_t);  z_t* = w_h . tanh(W_s s_t + W_g h_t)
        [weights_t; beta_t] = normalizer([z_t; z_t*])
        context_t = sum_i weights_ti v_i + beta_t s_t

    The sentinel s_t takes the share beta_t of the attention, for the words that need no look at
    the image, as "of"; `1 - sum(weights_t)` is beta_t. W_g: (D_query, units), W_v: (D_key, units),
    W_s: (D_value, units), w_h: (units). Costs O(B S (units + D_value)) memory a query.

    Inside an `AttentionDecoder` the sentinel comes from the cell, through a `SentinelGate` of this
    layer: its input, its first state before the step and its last state after it, which for an
    LSTM are x_t, h_{t-1} and m_t. Called alone, the layer is given the sentinels, or such states.

    Masking: see the contract at `AttentionLayer`. A masked query gets zeros; where all values are
    masked the context is the sentinel.

    Args:
        units: Positive integer, the size of the hidden layer; `None` for the size of the key.
        normalizer: As in `ContentAttention`.
        dropout: Float in `[0, 1)`, the fraction of attention weights dropped in training.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        sentinel: Float tensor `(B, T, D_value)`; `None` where the cell's states are given.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask: Boolean `(B, T)`; a masked query gets a zero context.
        value_mask: Boolean `(B, S)`.
        key_mask: Boolean `(B, S)`.
        cell_state: The states to make a sentinel of, see `RecurrentAttention`: a dict of
            `"inputs"` `(B, T, D)` and of `"previous"` and `"current"`, lists of `(B, T, _)`.
        return_attention_scores: Whether to return the weights too.
        training: Whether to drop weights and to draw hard ones.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to 1 - beta.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> sentinel = keras.ops.zeros((2, 3, 4))
        >>> layer = ka.AdaptiveAttention(units=8)
        >>> context, weights = layer(query, value, sentinel, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 4), (2, 3, 5))

    Reference:
        Lu et al., 2017, eq. 6 to 12, https://arxiv.org/abs/1612.01887
        As in the paper; eq. 9 and 10 are `SentinelGate`, eq. 13 is left to the decoder.
    """

    uses_cell_state = True
    use_bias = False

    def build(
        self,
        query_shape,
        value_shape,
        sentinel_shape=None,
        key_shape=None,
        cell_state_shape=None,
    ):
        super().build(query_shape, value_shape, key_shape)
        self.gate = None
        if cell_state_shape is not None:
            inputs, hidden = cell_state_shape["inputs"], cell_state_shape["previous"][0]
            sentinel_shape = cell_state_shape["current"][-1]
            self.gate = SentinelGate(dtype=self.dtype_policy, name="gate")
            self.gate.build(inputs, hidden, sentinel_shape)
        if sentinel_shape is None or sentinel_shape[-1] != value_shape[-1]:
            found = sentinel_shape and tuple(sentinel_shape)
            raise ValueError(
                "There must be a sentinel with as many features as `value`; in a decoder it has "
                f"those of the cell's last state. Received: sentinel_shape={found}, "
                f"value_shape={tuple(value_shape)}"
            )
        self.sentinel_dense = Dense(
            self.hidden_size, use_bias=False, dtype=self.dtype_policy, name="sentinel"
        )
        self.sentinel_dense.build((None, value_shape[-1]))

    def step(self, query, memory, state, training=None, sentinel=None, cell_state=None):
        query, sentinel = self.floats(query, sentinel)
        if sentinel is None:
            inputs, before, after = (cell_state[k] for k in ("inputs", "previous", "current"))
            sentinel = self.gate(inputs, before[0], after[-1])  # (B, D_value)
        # The sentinel is one more step of the memory.
        more = {"value": sentinel, "key": self.sentinel_dense(sentinel)}
        if "mask" in memory:
            more["mask"] = ops.ones_like(sentinel[:, 0], dtype="bool")
        memory = {
            name: ops.concatenate([memory[name], ops.expand_dims(x, 1)], axis=1)
            for name, x in more.items()
        }
        context, weights = self._attend_once(query, memory, self.energy.compare, training)
        return context, weights[:, :-1], state

    def call(
        self,
        query,
        value,
        sentinel=None,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        cell_state=None,
        return_attention_scores=False,
        training=None,
    ):
        query, sentinel = self.floats(query, sentinel)
        memory = self._prepare_call(value, key, value_mask, key_mask)
        given = {"sentinel": sentinel} if cell_state is None else {"cell_state": cell_state}
        state = self.initial_state(memory)
        context, weights, _ = self.steps(query, memory, state, query_mask, training, **given)
        return (context, weights) if return_attention_scores else context
