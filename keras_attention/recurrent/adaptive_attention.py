"""Adaptive attention, with a visual sentinel."""

import keras
from keras import ops

from keras_attention.dense import Dense
from keras_attention.recurrent.additive import AdditiveRecurrentAttention
from keras_attention.recurrent.sentinel_gate import SentinelGate
from keras_attention.types import Outputs, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class AdaptiveAttention(AdditiveRecurrentAttention):
    """Adaptive attention: additive attention over the values and a visual sentinel.

        z_ti = w_h . tanh(W_v v_i + W_g h_t);  z_t* = w_h . tanh(W_s s_t + W_g h_t)
        [weights_t; beta_t] = normalizer([z_t; z_t*])
        context_t = sum_i weights_ti v_i + beta_t s_t

    The sentinel s_t, which holds what the decoder knows, gets the share beta_t of the attention for
    words that do not need the image, such as "of"; beta_t is `1 - sum(weights_t)`.
    W_g: (D_query, units), W_v: (D_key, units), W_s: (D_value, units), w_h: (units). Costs
    O(B S (units + D_value)) memory per query.

    Inside an `AttentionDecoder` a `SentinelGate` of this layer computes the sentinel from the
    cell's input, its first state before the step and its last state after it: for an LSTM these
    are x_t, h_{t-1} and m_t. Called alone, the layer takes the sentinels, or such states.

    Masking: see the layer contract (docs/contract.md). A masked query gets zeros; where all values
    are masked, the context is the sentinel.

    Args:
        units: Positive integer, the size of the hidden layer; `None` for the size of the key.
        normalizer, dropout, seed: As in `ContentAttention`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        sentinel: Float tensor `(B, T, D_value)`; `None` where the cell's states are given.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.
        cell_state: The states to compute the sentinel from, see `RecurrentAttention`: a dict of
            `"inputs"` `(B, T, D)` and of `"previous"` and `"current"`, lists of `(B, T, _)`.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to 1 - beta.

    Raises:
        ValueError: If `normalizer` is unknown or a number out of range; if there is no sentinel, or
            not with as many features as `value`; if the tensors do not fit each other; if a mask
            has a float dtype or another shape.

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
            received = sentinel_shape and tuple(sentinel_shape)
            raise ValueError(
                "There must be a sentinel with as many features as `value`; in a decoder it has "
                f"those of the cell's last state. Received: sentinel_shape={received}, "
                f"value_shape={tuple(value_shape)}"
            )
        self.sentinel_dense = Dense(
            self.hidden_size, use_bias=False, dtype=self.dtype_policy, name="sentinel"
        )
        self.sentinel_dense.build((None, value_shape[-1]))

    def step(
        self,
        query: Tensor,
        memory: State,
        state: State,
        training: bool | None = None,
        sentinel: Tensor | None = None,
        cell_state: State = None,
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from one query per row.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.
            sentinel: Float tensor `(B, D_value)`; `None` where `cell_state` is given.
            cell_state: The cell's states at this step, see `RecurrentAttention`.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        query, sentinel = self.floats(query, sentinel)
        if sentinel is None:
            inputs, before, after = (cell_state[k] for k in ("inputs", "previous", "current"))
            sentinel = self.gate(inputs, before[0], after[-1])  # (B, D_value)
        # The sentinel is one more step of the memory.
        sentinel_step = {"value": sentinel, "key": self.sentinel_dense(sentinel)}
        if "mask" in memory:
            sentinel_step["mask"] = ops.ones_like(sentinel[:, 0], dtype="bool")
        memory = {
            name: ops.concatenate([memory[name], ops.expand_dims(x, 1)], axis=1)
            for name, x in sentinel_step.items()
        }
        context, weights = self._attend_once(query, memory, self.energy.compare, training)
        return context, weights[:, :-1], state

    def call(
        self,
        query: Tensor,
        value: Tensor,
        sentinel: Tensor | None = None,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        cell_state: State = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Averages the values and the sentinel for each query.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D_query)`.
            value: Float tensor `(B, S, D_value)`.
            sentinel: Float tensor `(B, T, D_value)`; `None` where `cell_state` is given.
            key: Float tensor `(B, S, D_key)`; the value if `None`.
            cell_state: The cell's states, in place of the sentinel: a dict of `"inputs"`
                `(B, T, D)` and of `"previous"` and `"current"`, lists of `(B, T, _)`.

        Returns:
            The context `(B, T, D_value)`; with `return_attention_scores` a tuple of it and the
            weights `(B, T, S)`.
        """
        query, sentinel = self.floats(query, sentinel)
        memory = self._prepare_call(value, key, value_mask, key_mask)
        given = {"sentinel": sentinel} if cell_state is None else {"cell_state": cell_state}
        state = self.initial_state(memory)
        context, weights, _ = self.steps(query, memory, state, query_mask, training, **given)
        return (context, weights) if return_attention_scores else context
