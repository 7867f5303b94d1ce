"""No attention: a normalizer that weighs all steps alike."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="recipes")
def equal_weights(scores, mask=None):
    """A normalizer that weighs all steps alike, to compare with."""
    allowed = ops.ones_like(scores) if mask is None else ops.cast(mask, scores.dtype)
    allowed = allowed * ops.ones_like(scores)
    return allowed / ops.maximum(ops.sum(allowed, axis=-1, keepdims=True), 1.0)
