"""Location-sensitive attention, over content and past weights."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.dense import Dense
from keras_attention.recurrent.additive import AdditiveRecurrentAttention
from keras_attention.types import LayerOptions, Normalizer, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class LocationSensitiveAttention(AdditiveRecurrentAttention):
    """Location-sensitive attention: additive attention whose score includes its past weights.

        f_i = F * weights_{i-1}                                    convolution over the steps
        score_ij = w . tanh(W s_i + V h_j + U f_ij + b)
        weights_i = normalizer(score_i);  context_i = weights_i h

    W: (D_query, units), V: (D_key, units), U: (filters, units), F: (kernel_size, 1, filters).

    Content alone cannot tell two equal parts of a long sequence apart; the location can. Made for
    speech recognition and synthesis. Costs O(B S units) memory per query; queries are processed
    sequentially.

    Masking: see the layer contract (docs/contract.md). A masked query does not change the past
    weights.

    Args:
        units: Positive integer, the size of the hidden layer; `None` for the size of the key.
        filters: Positive integer, the number of convolution filters.
        kernel_size: Positive odd integer, the number of steps that a filter covers.
        use_cumulative_weights: Whether the filters also read the sum of all past weights, as in
            Tacotron 2: it shows which steps are already done.
        normalizer: As in `ContentAttention`; `"smooth"` is the paper's smoothing.
        dropout, seed: As in `ContentAttention`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one over the allowed steps.

    Raises:
        ValueError: If a name is unknown or a number out of range; if `kernel_size` is even; if the
            tensors do not fit each other; if a mask has a float dtype or another shape.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.LocationSensitiveAttention(8, filters=2, kernel_size=3)
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 4), (2, 3, 5))

    Reference:
        Chorowski et al., 2015, eq. 8 and 9, https://arxiv.org/abs/1506.07503
        Shen et al., 2018, section 2.2 (cumulative weights), https://arxiv.org/abs/1712.05884
        As in the papers. Before the first step all weights are zero.
    """

    def __init__(
        self,
        units: int | None = None,
        filters: int = 32,
        kernel_size: int = 31,
        use_cumulative_weights: bool = False,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(units, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.filters = checks.positive_integer("filters", filters)
        self.kernel_size = checks.positive_integer("kernel_size", kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(
                "`kernel_size` must be odd, so that a filter is centred on a step. "
                f"Received: kernel_size={kernel_size}"
            )
        self.use_cumulative_weights = bool(use_cumulative_weights)

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.location_conv = keras.layers.Conv1D(
            self.filters,
            self.kernel_size,
            padding="same",
            use_bias=False,
            dtype=self.dtype_policy,
            name="location_conv",
        )
        self.location_dense = Dense(
            self.hidden_size, use_bias=False, dtype=self.dtype_policy, name="location"
        )
        self.location_conv.build((None, None, 2 if self.use_cumulative_weights else 1))
        self.location_dense.build((None, None, self.filters))

    def initial_state(self, memory: State) -> State:
        """No past weights: dict of `"weights"` `(B, S)`, and `"cumulative"` `(B, S)` if used."""
        nothing = ops.zeros(ops.shape(memory["value"])[:2], self.state_dtype)  # (B, S)
        state = {"weights": nothing}
        return {**state, "cumulative": nothing} if self.use_cumulative_weights else state

    def step(
        self, query: Tensor, memory: State, state: State, training: bool | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from one query per row, with a view of the past weights.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        query = self.floats(query)
        before = [state["weights"]]
        if self.use_cumulative_weights:
            before.append(state["cumulative"])
        past = ops.cast(ops.stack(before, axis=-1), query.dtype)  # (B, S, 1 or 2)
        if 0 in past.shape[:2]:  # which is an error on PyTorch, and on TensorFlow a wrong shape
            features = ops.zeros((*ops.shape(past)[:2], self.filters), past.dtype)
        else:
            features = self.location_conv(past)  # (B, S, filters)
        past = self.location_dense(features)  # (B, S, U)
        context, weights = self._attend_with(past, query, memory, training)
        new = {"weights": ops.cast(weights, self.state_dtype)}
        if self.use_cumulative_weights:
            new["cumulative"] = state["cumulative"] + new["weights"]
        return context, weights, new

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_cumulative_weights": self.use_cumulative_weights,
        }
