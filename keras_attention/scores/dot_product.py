"""The base class of the scores that end in a dot product."""

from keras import ops

from keras_attention.functional.average import grouped_matmul
from keras_attention.scores.score import Score
from keras_attention.types import State, Tensor


class DotProductScore(Score):
    """Base of the scores that are a dot product of a function of the query and one of the key.

        score(q, k) = dot_scale * prepare_query(q) . prepare_key(k)

    A subclass defines `prepare_query`, `prepare_key` or both. Each takes a tensor
    `(..., steps, features)` and returns another one; both must return as many features. It may also
    set `dot_scale`, a number. Attention is fastest with such a score: keys are transposed once,
    large scores are computed head by head, and a fused kernel is used where the machine has one.

    Raises:
        TypeError: For a subclass with a `compare` of its own.

    Example:
        >>> @keras.saving.register_keras_serializable(package="docs")
        ... class PositiveScore(ka.DotProductScore):
        ...     def prepare_query(self, query):
        ...         return keras.ops.relu(query)
        ...     def prepare_key(self, key):
        ...         return keras.ops.relu(key)
        >>> layer = ka.ContentAttention(score=PositiveScore())
        >>> layer(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 4)
        True
    """

    dot_scale = 1.0

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "compare" in vars(cls):
            raise TypeError(
                "A `DotProductScore` must define `prepare_query`, `prepare_key` or both. Derive a "
                f"score with a `compare` of its own from `Score`. Received: `{cls.__name__}`"
            )

    def prepare_query(self, query: Tensor) -> Tensor:
        """What is multiplied with the prepared keys, `(..., T, D)`; by default the query itself."""
        return query

    def compare(self, query: Tensor, prepared: State, start: int | Tensor) -> Tensor:
        """The scaled dot products `(..., T, S)`; see `Score.compare`."""
        return dots(self.prepare_query(query) * self.dot_scale, prepared)


def dots(query, key):
    """Dot products `(..., T, S)` of each query `(..., T, D)` with each key `(..., S, D)`."""
    return grouped_matmul(_dots, query, key)


def _dots(query, key):
    if query.shape[-2] == 1:  # the same numbers; keys are read, and differentiated, as they lie
        # Without a transposition: XLA can't differentiate one twice inside a loop.
        column = ops.expand_dims(ops.squeeze(query, -2), -1)  # (..., D, 1)
        return ops.expand_dims(ops.squeeze(ops.matmul(key, column), -1), -2)  # (..., 1, S)
    return ops.matmul(query, ops.swapaxes(key, -2, -1))
