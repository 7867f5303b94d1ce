"""The base class of all scores."""

from keras import ops

from keras_attention.dense import Dense
from keras_attention.layer import BaseLayer


class Score(BaseLayer):
    """How alike each query and each key are: the first of attention's three steps.

    A subclass defines `compare(query, key, start)` for a query `(..., T, D_query)` and a key
    `(..., S, D_key)` and returns scores `(..., T, S)`; weights are made in
    `build(query_shape, key_shape)`. Masks, softmax and averaging are not its business, so a new
    score works at once in every layer of the package. The scores of a query may depend on the keys
    and on that query, not on other queries or examples: long sequences are scored some queries at a
    time, and may be scored example by example.

    `start` is the position of the first query, an integer or a scalar tensor, counted as the keys
    are: 0 is the first key. A score that reads it sets `uses_positions = True`. A decoder asks with
    one query at a time, whose position it does not know, and refuses such a score.

    Where queries come one at a time and the keys stay, as in a decoder, what depends on the keys
    alone is better computed once: a subclass may define `prepare_key(key)`, which returns a tensor
    or a structure of tensors of any shapes. `compare` then gets that in place of the key. A score
    that is a dot product in the end is better a `DotProductScore`, which is faster.

    A score is called as `score(query, key)`; the last query then stands at the last key.

    Example:
        >>> @keras.saving.register_keras_serializable(package="docs")
        ... class DistanceScore(ka.Score):
        ...     def compare(self, query, key, start):
        ...         difference = keras.ops.expand_dims(query, -2) - keras.ops.expand_dims(key, -3)
        ...         return -keras.ops.sum(difference**2, axis=-1)
        >>> layer = ka.ContentAttention(score=DistanceScore())
        >>> layer(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 4)
        True
    """

    uses_positions = False  # whether `compare` reads `start`
    is_relative = True  # whether no score depends on where a key stands, but relative to its query
    dot_scale = None  # a number where `compare` is a plain dot product, times that

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "call" in vars(cls):
            raise TypeError(
                "A `Score` must define `compare(query, key, start)`, which `call` uses. Received: "
                f"`{cls.__name__}`, which defines `call`"
            )

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, query_shape, key_shape):
        self.built = True

    def call(self, query, key, start=None):
        query, key = self.floats(query, key)
        if start is None:
            start = ops.shape(key)[-2] - ops.shape(query)[-2]
        return self.compare(query, self.prepare_key(key), start)

    def prepare_key(self, key):
        return key

    def compare(self, query, prepared, start):
        raise NotImplementedError(f"`{type(self).__name__}` must define `compare`.")

    @property
    def pair_size(self):
        """The numbers that are computed for each pair of a query and a key."""
        return 1

    def __add__(self, other):
        """The `SumScore` of both."""
        from keras_attention.scores.sum import SumScore  # which is a `Score`, and needs this class

        return SumScore([self, other], dtype=self.dtype_policy)

    def compute_mask(self, *args, **kwargs):
        return None  # scores carry no step mask: the attention layer applies it

    def query_size(self, key_size):
        """Size of the query that a layer should learn for keys of `key_size` features."""
        return key_size

    def check_same_size(self, query_shape, key_shape):
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
        # A fresh copy: one initializer object gives two kernels of one shape the same values.
        initializer = self.kernel_initializer.clone()
        return Dense(units, kernel_initializer=initializer, name=name, **kwargs)
