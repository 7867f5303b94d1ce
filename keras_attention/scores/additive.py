"""Additive (Bahdanau) score."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.scores.score import Score
from keras_attention.types import Initializer, LayerOptions, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class AdditiveScore(Score):
    """Additive score (Bahdanau): a hidden layer over query and key.

        score(q, k) = v . tanh(W_q q + W_k k + b)      W_q: (D_query, U), W_k: (D_key, U), v: (U)

    Takes queries and keys of different sizes. Costs O(T S U) time and memory, U times the memory
    of a dot product: for long sequences prefer `BilinearScore`. Luong's "concat" score
    `v . tanh(W [q; k])` is this one without b, since `W [q; k]` splits into the two products.

    Args:
        units: Positive integer U, the size of the hidden layer; `None` for the size of the key.
        use_bias: Whether to add b.
        kernel_initializer: Initializer of W_q, W_k and v.

    Raises:
        ValueError: If `units` is neither a positive integer nor `None`.

    Example:
        >>> score = ka.AdditiveScore(units=8)
        >>> score(keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Bahdanau, Cho & Bengio, 2015, appendix A.1.2, https://arxiv.org/abs/1409.0473
        As in the paper, which has no b.
    """

    def __init__(
        self,
        units: int | None = None,
        use_bias: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.units = checks.positive_integer("units", units, optional=True)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, key_shape):
        units = self.units or key_shape[-1]
        self.query_dense = self._dense(units, "query")
        self.key_dense = self._dense(units, "key", use_bias=self.use_bias)
        self.score_dense = self._dense(1, "score")
        self.query_dense.build(query_shape)
        self.key_dense.build(key_shape)
        self.score_dense.build((None, units))
        self.built = True

    def prepare_key(self, key: Tensor) -> State:
        """The projected keys `(..., S, U)` of keys `(..., S, D_key)`."""
        return self.key_dense(key)  # (..., S, U)

    def compare(
        self,
        query: Tensor,
        prepared: State,
        start: int | Tensor | None = None,
        past: Tensor | None = None,
    ) -> Tensor:
        """The scores `(..., T, S)` of queries and projected keys `(..., S, U)`.

        Args:
            query: Float tensor `(..., T, D_query)`.
            prepared: Projected keys `(..., S, U)`, from `prepare_key`.
            start: Not read.
            past: Tensor that broadcasts to `(..., T, S, U)`, one more term inside the tanh, such as
                that of past weights; or `None`.

        Returns:
            The scores `(..., T, S)`.
        """
        return ops.squeeze(self.score_dense(self.hidden(query, prepared, past)), -1)

    def hidden(self, query: Tensor, prepared: State, past: Tensor | None = None) -> Tensor:
        """The hidden layer `(..., T, S, U)`; the arguments are those of `compare`."""
        hidden = ops.expand_dims(self.query_dense(query), -2) + ops.expand_dims(prepared, -3)
        return ops.tanh(hidden if past is None else hidden + past)

    @property
    def pair_size(self) -> int:
        """The size U of the hidden layer."""
        return self.score_dense.kernel.shape[0]

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
