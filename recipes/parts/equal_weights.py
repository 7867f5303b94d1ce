"""No attention, to compare with: all steps weigh alike, by a normalizer or by a score."""

import keras
from keras import ops

import keras_attention as ka


@keras.saving.register_keras_serializable(package="recipes")
def equal_weights(scores, mask=None):
    """A normalizer that weighs all steps alike, for layers whose scores are given."""
    # Not `ones_like` alone: Keras would warn that the scores have no gradient.
    equal = ops.ones_like(scores) + 0.0 * ops.nan_to_num(scores)
    allowed = equal if mask is None else ops.where(mask, equal, 0.0)
    return allowed / ops.maximum(ops.sum(allowed, axis=-1, keepdims=True), 1.0)


@keras.saving.register_keras_serializable(package="recipes")
class EqualScore(ka.Score):
    """The same score for all steps, in place of one whose weights would not be trained."""

    def compare(self, query, key, start):
        # Not `zeros_like`: Keras would warn that the query has no gradient.
        return 0.0 * (query[..., :1] + ops.expand_dims(key[..., 0], -2))  # (..., T, S)
