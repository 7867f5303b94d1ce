"""The base class of all scores."""

import inspect

import keras
from keras import ops

from keras_attention.dense import Dense
from keras_attention.functional.average import with_shared


class Score(keras.layers.Layer):
    """How alike each query and each key are: the first of attention's three steps.

    A subclass defines `call(query, key)` for a query `(..., T, D_query)` and a key
    `(..., S, D_key)` and returns scores `(..., T, S)`; weights are made in
    `build(query_shape, key_shape)`. Masks, softmax and averaging are not its business, so a new
    score works at once in every layer of the package. The scores of a query may depend on the keys
    and on that query, not on other queries or examples: long sequences are scored some queries at a
    time, and may be scored example by example. If the place of the queries counts, take it from
    `start_index`, a further argument of `call` (or of `compare`), which is the step of the first
    query, or `None` where the last query stands at the last key.

    Where queries come one at a time and the keys stay, as in a decoder, what depends on the keys
    alone is better computed once. A subclass that can do so defines in place of `call` its two
    halves: `prepare_key(key)`, a tensor or a structure of tensors of any shapes, and
    `compare(query, prepared)`, the scores.

    Example:
        >>> @keras.saving.register_keras_serializable(package="docs")
        ... class DistanceScore(ka.Score):
        ...     def call(self, query, key):
        ...         difference = keras.ops.expand_dims(query, -2) - keras.ops.expand_dims(key, -3)
        ...         return -keras.ops.sum(difference**2, axis=-1)
        >>> layer = ka.ContentAttention(score=DistanceScore())
        >>> layer(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 4)
        True
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, query_shape, key_shape):
        self.built = True

    def call(self, query, key):
        return self.compare(query, self.prepare_key(key))

    def prepare_key(self, key):
        return key

    def compare(self, query, prepared):
        raise NotImplementedError(f"{type(self).__name__} must define `call(query, key)`.")

    def halves(self):
        """`prepare_key` and `compare`; or, in a subclass that changed `call` since, it alone."""

        def depth(name):
            return next(i for i, cls in enumerate(type(self).__mro__) if name in vars(cls))

        if depth("compare") <= depth("call"):
            return self.prepare_key, self.compare
        return lambda key: key, self

    def by_rows(self):
        """`prepare_key`, and a function `(query, prepared, start) -> scores` of some of the queries
        of which the first stands at the step `start` of the keys.
        """
        prepare, compare = self.halves()
        takes_start = inspect.signature(self.call if compare is self else compare).parameters
        if "start_index" in takes_start:
            return prepare, lambda query, key, start: compare(query, key, start_index=start)
        return prepare, lambda query, key, start: compare(query, key)

    @property
    def is_relative(self):
        """Whether only the distance of a query and a key counts, if their places count at all."""
        return True

    @property
    def pair_size(self):
        """The numbers that are computed for each pair of a query and a key."""
        return 1

    def __add__(self, other):
        """The `SumScore` of both."""
        from keras_attention.scores.sum import SumScore  # which is a `Score`, and needs this class

        return SumScore([self, other])

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


def dots(query, key):
    """Dot products `(..., T, S)` of each query `(..., T, D)` with each key `(..., S, D)`."""
    return with_shared(_dots, query, key)


def _dots(query, key):
    if query.shape[-2] == 1:  # the same numbers; keys are read, and differentiated, as they lie
        return ops.swapaxes(ops.matmul(key, ops.swapaxes(query, -2, -1)), -2, -1)
    return ops.matmul(query, ops.swapaxes(key, -2, -1))
