"""Base of the recurrent attentions with an additive (Bahdanau) score."""

from typing import Unpack

from keras import ops

from keras_attention.recurrent.base import RecurrentAttention
from keras_attention.scores.additive import AdditiveScore
from keras_attention.types import LayerOptions, Normalizer, State, Tensor


class AdditiveRecurrentAttention(RecurrentAttention):
    """Base of the recurrent attentions with an additive score and a term for past weights.

        score = v . tanh(W_q q + W_k k + b + past)

    Args:
        units: Positive integer U, the size of the hidden layer; `None` for the size of the key.
        normalizer, dropout, seed: As in `ContentAttention`.

    Raises:
        ValueError: If a name is unknown or a number out of range.
    """

    use_bias = True  # whether the score adds b

    def __init__(
        self,
        units: int | None = None,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.energy = AdditiveScore(
            units, use_bias=self.use_bias, dtype=self.dtype_policy, name="energy"
        )
        self.units = self.energy.units

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        key_shape = value_shape if key_shape is None else key_shape
        self.energy.build(query_shape, key_shape)
        self.hidden_size = self.units or key_shape[-1]

    def prepare(
        self, value: Tensor, key: Tensor | None = None, mask: Tensor | None = None
    ) -> State:
        """The memory, with projected keys `(B, S, U)`; see `Stepwise.prepare`."""
        memory = super().prepare(value, key, mask)
        return {**memory, "key": self.energy.prepare_key(memory["key"])}  # (B, S, U)

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def _attend_with(self, past, query, memory, training):
        """Context `(B, D_value)` and weights `(B, S)` for the term `past` `(B, S, U)`."""

        def score(query, key):
            return self.energy.compare(query, key, past=ops.expand_dims(past, 1))

        return self._attend_once(query, memory, score, training)
