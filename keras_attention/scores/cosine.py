"""Cosine score."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.scores.dot_product import DotProductScore
from keras_attention.types import LayerOptions, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class CosineScore(DotProductScore):
    """Cosine score: the cosine of the angle between query and key, times a scale.

        score(q, k) = beta * (q . k) / (|q| |k|)

    Queries and keys have the same size D. A cosine lies in [-1, 1], so without a scale beta the
    weights stay almost uniform; beta is learned by default. A zero vector scores 0.
    Costs O(T S D) time and O(T S) memory.

    Args:
        scale: Number of at least 0, the scale beta, or its initial value if it is learned.
        use_learned_scale: Whether beta is learned (one scalar) or stays at `scale`.

    Raises:
        ValueError: If `scale` is negative, or query and key differ in size.

    Example:
        >>> score = ka.CosineScore(scale=5.0)
        >>> score(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Graves, Wayne & Danihelka, 2014, eq. 5 and 6, https://arxiv.org/abs/1410.5401
        There a controller emits beta for each query; here it is one number per score.
    """

    def __init__(
        self, scale: float = 10.0, use_learned_scale: bool = True, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self.scale = checks.non_negative("scale", scale)
        self.use_learned_scale = bool(use_learned_scale)

    def build(self, query_shape, key_shape):
        self.check_same_size(query_shape, key_shape)
        if self.use_learned_scale:
            self.strength = self.add_weight(
                name="strength",
                shape=(),
                initializer=keras.initializers.Constant(self.scale),
            )
        self.built = True

    def prepare_key(self, key: Tensor) -> State:
        """The keys `(..., S, D)`, scaled to length 1."""
        return _unit(key)

    def prepare_query(self, query: Tensor) -> Tensor:
        """The queries `(..., T, D)`, scaled to length beta."""
        strength = self.strength if self.use_learned_scale else self.scale
        return _unit(query) * ops.cast(strength, query.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "use_learned_scale": self.use_learned_scale,
        }


def _unit(x):
    """`x` at length 1; squares overflow float16, and a zero vector must keep a finite gradient."""
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    square = ops.sum(ops.square(wide), axis=-1, keepdims=True)
    return ops.cast(wide * ops.rsqrt(square + 1e-12), x.dtype)
