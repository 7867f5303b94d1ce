"""The base class of all scores."""

from typing import Unpack

import keras
from keras import ops

from keras_attention.dense import Dense
from keras_attention.layer import BaseLayer
from keras_attention.types import LayerOptions, Shape, State, Tensor


class Score(BaseLayer):
    """Base of the scores, the similarity of each query and each key before the normalizer.

    A subclass defines `compare(query, key, start)` for a query `(..., T, D_query)` and a key
    `(..., S, D_key)` and returns scores `(..., T, S)`; weights are made in
    `build(query_shape, key_shape)`. The layers do masks, normalizer and average, so a new score
    works at once in every layer of the package. The scores of a query may depend on the keys and on
    that query, not on other queries or examples: long sequences are scored in blocks of queries,
    and may be scored example by example.

    `start` is the position of the first query, an integer or a scalar tensor, counted from the
    first key, which has position 0. A score that reads it sets `uses_positions = True`. A recurrent
    decoder, which scores one query per step without its position, refuses such a score.

    In decoding the keys stay the same at each step. What depends on the keys alone can be computed
    once: a subclass may define `prepare_key(key)`, which returns a tensor or a structure of tensors
    of any shapes. `compare` then gets that in place of the key. If the score is a dot product of
    functions of query and key, derive it from `DotProductScore`, which is faster.

    Long inputs are scored in blocks, whose size depends on the numbers computed per pair of a query
    and a key: `pair_size`, 1 by default. A score that computes more, such as the D differences of
    the example below, defines it.

    A score is called as `score(query, key)`; the last query then has the position of the last key.

    Raises:
        TypeError: If a subclass defines `call` in place of `compare`.
        NotImplementedError: When called, if it defines neither.

    Example:
        >>> @keras.saving.register_keras_serializable(package="docs")
        ... class DistanceScore(ka.Score):
        ...     pair_size = 4  # differences of a query and a key of 4 features
        ...     def compare(self, query, key, start):
        ...         difference = keras.ops.expand_dims(query, -2) - keras.ops.expand_dims(key, -3)
        ...         return -keras.ops.sum(difference**2, axis=-1)
        >>> layer = ka.ContentAttention(score=DistanceScore())
        >>> layer(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 4)
        True
    """

    uses_positions = False  # whether `compare` reads `start`
    is_relative = True  # whether scores depend on distances at most, not on positions of keys
    dot_scale: float | None = None  # a number if `compare` is a dot product times that number

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "call" in vars(cls):
            raise TypeError(
                "A `Score` must define `compare(query, key, start)`, which `call` uses. Received: "
                f"`{cls.__name__}`, which defines `call`"
            )

    def __init__(self, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, query_shape, key_shape):
        self.built = True

    def call(self, query: Tensor, key: Tensor, start: int | Tensor | None = None) -> Tensor:
        """Compares each query with each key.

        Args:
            query: Float tensor `(..., T, D_query)`.
            key: Float tensor `(..., S, D_key)`.
            start: Integer or scalar tensor, the position of the first query; `None` for S - T, so
                that the last query has the position of the last key.

        Returns:
            The scores `(..., T, S)`.
        """
        query, key = self.floats(query, key)
        if start is None:
            start = ops.shape(key)[-2] - ops.shape(query)[-2]
        return self.compare(query, self.prepare_key(key), start)

    def prepare_key(self, key: Tensor) -> State:
        """What `compare` gets in place of the key `(..., S, D_key)`: computed once per sequence.

        Returns:
            A tensor or a structure of tensors of any shapes; by default the key itself.
        """
        return key

    def compare(self, query: Tensor, prepared: State, start: int | Tensor) -> Tensor:
        """The scores; a subclass must define it.

        Args:
            query: Float tensor `(..., T, D_query)`.
            prepared: What `prepare_key` returned, by default the key `(..., S, D_key)`.
            start: Integer or scalar tensor, the position of the first query.

        Returns:
            The scores `(..., T, S)`.
        """
        raise NotImplementedError(f"`{type(self).__name__}` must define `compare`.")

    @property
    def pair_size(self) -> int:
        """How many numbers are computed for each pair of a query and a key."""
        return 1

    def __add__(self, other: "Score") -> "Score":
        """The `SumScore` of both."""
        # By its name: it is a `Score`, and its module imports this one.
        sum_score = keras.saving.get_registered_object("keras_attention>SumScore")
        return sum_score([self, other], dtype=self.dtype_policy)

    def compute_mask(self, *args, **kwargs):
        return None  # scores have no steps to mask: the attention layer applies masks

    def query_size(self, key_size: int) -> int:
        """The number of features of a learned query, where keys have `key_size` features."""
        return key_size

    def check_same_size(self, query_shape: Shape, key_shape: Shape) -> None:
        """Raises a `ValueError` unless queries and keys have the same number of features."""
        if query_shape[-1] != key_shape[-1]:
            raise ValueError(
                f"`{type(self).__name__}` needs queries and keys of the same size. Received: "
                f"query_shape={tuple(query_shape)}, key_shape={tuple(key_shape)}. "
                '`"bilinear"` and `"additive"` take different sizes.'
            )

    def _dense(self, units, name, **kwargs):
        """A projection in this score's precision, by default without bias."""
        kwargs = {"use_bias": False, "dtype": self.dtype_policy, **kwargs}
        # A copy: one initializer object gives two kernels of the same shape the same values.
        initializer = self.kernel_initializer.clone()
        return Dense(units, kernel_initializer=initializer, name=name, **kwargs)
