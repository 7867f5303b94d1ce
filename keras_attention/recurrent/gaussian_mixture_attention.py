"""Gaussian mixture attention: location-based windows that move forward."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.dense import Dense
from keras_attention.functional import masks, normalize
from keras_attention.recurrent.base import RecurrentAttention
from keras_attention.types import LayerOptions, State, Tensor

# Bounds of the exponents, so that no exponential overflows: an importance of at most 20, and a
# window narrower than a step or a stride of 148 steps at most.
_LARGEST_IMPORTANCE = 3.0
_LARGEST_EXPONENT = 5.0


@keras.saving.register_keras_serializable(package="keras_attention")
class GaussianMixtureAttention(RecurrentAttention):
    """Gaussian mixture attention (Graves): location-based windows that only move forward.

        a_t, b_t, c_t = W query_t + b                            K numbers each
        importance_t = exp(a_t);  sharpness_t = exp(b_t);  center_t = center_{t-1} + exp(c_t)
        weights_tu = sum_k importance_tk exp(-sharpness_tk (center_tk - u)^2)     u = 1, 2, ... S
        context_t = weights_t value

    W: (D_query, 3 K). The content of the values does not count: the query moves the windows, as the
    hand moves along the letters of a text that it writes. The weights are not probabilities: a row
    may sum to less or more than one. Costs O(B K S) memory per query; queries are processed
    sequentially.

    Masking: see the layer contract (docs/contract.md). Masked steps are not counted, wherever they
    are: u is the number of allowed steps so far. A masked query does not move the windows.

    Args:
        num_components: Positive integer K, the number of windows.
        dropout: As in `ContentAttention`.
        seed: Integer seed of dropout, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: `None`, or a tensor that is ignored.
        query_mask, value_mask, key_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, whose rows may have any sum.

    Raises:
        ValueError: If a number is out of range; if the tensors do not fit each other; if a mask has
            a float dtype or another shape.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.GaussianMixtureAttention(num_components=2)
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 4), (2, 3, 5))

    Reference:
        Graves, 2013, eq. 46 to 51, https://arxiv.org/abs/1308.0850
        As in the paper, except that a is at most 3, b and c at most 5.
    """

    def __init__(
        self,
        num_components: int = 10,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(dropout=dropout, seed=seed, **kwargs)
        self.num_components = checks.positive_integer("num_components", num_components)

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.window_dense = Dense(3 * self.num_components, dtype=self.dtype_policy, name="window")
        self.window_dense.build(query_shape)

    def prepare(
        self, value: Tensor, key: Tensor | None = None, mask: Tensor | None = None
    ) -> State:
        """The memory, with the positions of the allowed steps; see `Stepwise.prepare`.

        A `key` is ignored.
        """
        memory = super().prepare(value, None, mask)
        positions = masks.positions(memory["value"], memory.get("mask"))  # (B, S)
        return {**memory, "positions": ops.cast(positions, self.state_dtype)}

    def initial_state(self, memory: State) -> State:
        """All windows before the first step: dict of `"center"` `(B, K)`."""
        batch = ops.shape(memory["value"])[0]
        return {"center": ops.zeros((batch, self.num_components), self.state_dtype)}

    def step(
        self, query: Tensor, memory: State, state: State, training: bool | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Moves the windows by one query per row, and averages the values in them.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        window = ops.cast(self.window_dense(self.floats(query)), self.state_dtype)
        importance, sharpness, stride = ops.split(window, 3, axis=-1)  # (B, K) each
        importance = ops.exp(ops.minimum(importance, _LARGEST_IMPORTANCE))
        sharpness = ops.exp(ops.minimum(sharpness, _LARGEST_EXPONENT))
        center = state["center"] + ops.exp(ops.minimum(stride, _LARGEST_EXPONENT))

        distance = ops.expand_dims(center, 2) - ops.expand_dims(memory["positions"], 1)
        windows = ops.exp(-ops.expand_dims(sharpness, 2) * ops.square(distance))  # (B, K, S)
        weights = ops.sum(ops.expand_dims(importance, 2) * windows, axis=1)
        weights = normalize.identity(weights, memory.get("mask"))
        context, weights = self._average(weights, memory, training)
        return context, weights, {"center": center}

    def get_config(self):
        config = super().get_config()
        del config["normalizer"]  # the weights are windows as they are
        return {**config, "num_components": self.num_components}
