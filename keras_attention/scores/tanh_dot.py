"""Tanh dot-product score: of a query and a hidden layer over the key."""

from typing import Unpack

import keras

from keras_attention import checks
from keras_attention.scores.dot_product import DotProductScore
from keras_attention.types import Initializer, LayerOptions, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class TanhDotScore(DotProductScore):
    """Tanh dot-product score: the query times a hidden layer over the key.

        score(q, k) = q . tanh(W k + b)      W: (D_key, U), q: (U)

    The score of attention pooling: the query is the learned context vector of hierarchical
    attention, or one row of the structured embedding's second matrix. Unlike `AdditiveScore` it
    costs O(T S U) time but only O(T S) memory.

    Args:
        units: Positive integer U, the size of the hidden layer and of the query; `None` for the
            size of the query, or of the key if a layer learns the query.
        use_bias: Whether to add b.
        kernel_initializer: Initializer of W.

    Raises:
        ValueError: If `units` is neither a positive integer nor `None`, or not the query's size.

    Example:
        >>> score = ka.TanhDotScore()
        >>> score(keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Yang et al., 2016, eq. 5 and 6, https://aclanthology.org/N16-1174
        Lin et al., 2017, eq. 5 and 6, https://arxiv.org/abs/1703.03130 (without b)
    """

    def __init__(
        self,
        units: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.units = checks.positive_integer("units", units, optional=True)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, key_shape):
        units = self.units or query_shape[-1]
        if query_shape[-1] != units:
            raise ValueError(
                f"`TanhDotScore` needs queries of size units={units}. Received: "
                f"query_shape={tuple(query_shape)}, key_shape={tuple(key_shape)}"
            )
        self.key_dense = self._dense(units, "key", use_bias=self.use_bias, activation="tanh")
        self.key_dense.build(key_shape)
        self.built = True

    def prepare_key(self, key: Tensor) -> State:
        """The hidden layer over the keys, `(..., S, U)`."""
        return self.key_dense(key)  # (..., S, U)

    def query_size(self, key_size: int) -> int:
        """The size U of the hidden layer."""
        return self.units or key_size

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
