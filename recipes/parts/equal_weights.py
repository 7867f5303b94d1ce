"""No attention, to compare with: a score that is the same for all steps.

Where the score takes no part, the normalizer `"uniform"` does the same.
"""

import keras
from keras import ops

import keras_attention as ka


@keras.saving.register_keras_serializable(package="recipes")
class EqualScore(ka.Score):
    """The same score for all steps, in place of one whose weights would not be trained."""

    def compare(self, query, key, start):
        # Not `zeros_like`: Keras would warn that the query has no gradient.
        return 0.0 * (query[..., :1] + ops.expand_dims(key[..., 0], -2))  # (..., T, S)
