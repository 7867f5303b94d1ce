"""Groups of heads that share keys and values, and what heads know of positions."""

import keras
from keras import ops

from keras_attention.functional.shapes import reshape
from keras_attention.layers.rotary_position_embedding import RotaryPositionEmbedding
from keras_attention.scores import ScaledDotScore, Score, SumScore


def split_heads(x, groups):
    """`(B, H, T, S)` becomes `(B, G, H / G, T, S)`; a single head broadcasts to all."""
    if x is None or len(x.shape) < 3:  # a mask (T, S) broadcasts as it is
        return x
    if x.shape[1] == 1:
        return ops.expand_dims(x, 2)
    batch, heads, *rest = ops.shape(x)
    return reshape(x, (batch, groups, heads // groups, *rest))


def get_position(position):
    """The `position` of a layer with heads, made from its config where that is given.

    Raises:
        ValueError: For anything but a `RotaryPositionEmbedding`, a `Score`, a config of either or
            `None`.
    """
    if isinstance(position, dict):
        position = keras.saving.deserialize_keras_object(position)
    if position is None or isinstance(position, (RotaryPositionEmbedding, Score)):
        return position
    raise ValueError(
        "`position` must be a `RotaryPositionEmbedding`, a `Score` of distances such as "
        f"`ALiBiScore`, or `None`. Received: position={position!r}"
    )


def score_of_heads(position, num_heads, groups, key_dim, dtype):
    """Scaled dot products, and the score of a position where there is one: a built `Score`."""
    score = ScaledDotScore(dtype=dtype, name="score")
    score.build((None, None, key_dim), (None, None, key_dim))
    if not isinstance(position, Score):
        return score
    if not position.built:  # a loaded one is
        position.build((None, num_heads, None, key_dim), (None, groups, None, key_dim))
    if groups != num_heads:
        position = _OfGroups(position, dtype=dtype)
        position.built = True
    score = SumScore([score, position], dtype=dtype)
    score.built = True
    return score


class _OfGroups(Score):
    """A position's score for heads in groups: the position itself has heads alone.

    The name of the class is in saved files.
    """

    def __init__(self, position, **kwargs):
        super().__init__(**kwargs)
        self.position = position

    def prepare_key(self, key):
        return self.position.prepare_key(ops.squeeze(key, 2))  # of (B, G, 1, S, K)

    def compare(self, query, prepared, start):
        batch, groups, heads, *rest = ops.shape(query)  # (B, G, H / G, T, K)
        query = reshape(query, (batch, groups * heads, *rest))  # (B, H, T, K)
        return split_heads(self.position.compare(query, prepared, start), groups)

    @property
    def is_relative(self):
        return self.position.is_relative

    @property
    def uses_positions(self):
        return self.position.uses_positions

    @property
    def pair_size(self):
        return self.position.pair_size
