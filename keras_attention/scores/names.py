"""Scores by name."""

import keras

from keras_attention.scores.additive import AdditiveScore
from keras_attention.scores.alibi import ALiBiScore
from keras_attention.scores.bilinear import BilinearScore
from keras_attention.scores.concat import ConcatScore
from keras_attention.scores.cosine import CosineScore
from keras_attention.scores.dot import DotScore
from keras_attention.scores.euclidean import EuclideanScore
from keras_attention.scores.scaled_dot import ScaledDotScore
from keras_attention.scores.score import Score
from keras_attention.scores.tanh_dot import TanhDotScore

SCORES = {
    "additive": AdditiveScore,
    "alibi": ALiBiScore,
    "bilinear": BilinearScore,
    "concat": ConcatScore,
    "cosine": CosineScore,
    "dot": DotScore,
    "euclidean": EuclideanScore,
    "general": BilinearScore,
    "scaled_dot": ScaledDotScore,
    "tanh_dot": TanhDotScore,
}


def get(identifier, dtype=None):
    """The score for a name, a `Score` instance or its config.

    Args:
        identifier: One of the names in `SCORES`, a `Score` instance, or a config dictionary.
        dtype: Dtype or policy of a score made from a name.

    Raises:
        ValueError: If it is none of these; the message lists the names.
    """
    if isinstance(identifier, Score):
        return identifier
    if isinstance(identifier, str) and identifier in SCORES:
        return SCORES[identifier](dtype=dtype)
    if isinstance(identifier, dict):
        return get(keras.saving.deserialize_keras_object(identifier))
    raise ValueError(
        f"`score` must be one of {', '.join(map(repr, SCORES))} or an instance of a subclass of "
        f"`Score`. Received: score={identifier!r}"
    )
