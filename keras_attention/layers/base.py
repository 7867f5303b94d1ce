"""What all attention layers share: the three steps, symbolic shapes, config and masks."""

import keras

from keras_attention import checks, scores
from keras_attention.functional import normalize
from keras_attention.functional.attend import attend


class TracedLayer(keras.layers.Layer):
    """A layer whose symbolic outputs are found by tracing `call`."""

    def compute_output_spec(self, *args, **kwargs):
        # By tracing `call`, so that no shape is stated twice and a second output is never lost.
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, *args, **kwargs):
        """Shape of the output for the shapes of the tensors; wrapper layers ask for it."""

        def spec(shape):
            return None if shape is None else keras.KerasTensor(shape, dtype=self.compute_dtype)

        specs = {name.removesuffix("_shape"): spec(shape) for name, shape in kwargs.items()}
        return self.compute_output_spec(*map(spec, args), **specs).shape


class AttentionLayer(TracedLayer):
    """Base of the attention layers: a score, a normalizer and dropout of the weights.

    The contract that every layer keeps:

    - Masks are boolean, `True` = may be attended to, and combine by AND. Keras fills
      `<argument>_mask` from the argument's implicit mask; a mask passed by hand counts as well.
    - Masked steps may hold anything, also `inf` and `nan`: no output and no gradient changes.
    - A query without any step to attend to gets zero weights, a zero context and zero gradients.
    - A causal mask is aligned at the end: the last query sees every step, also for T != S. Keras'
      own layers align at the start.
    - Weights are computed in float32 under mixed precision.

    Args:
        score: Name, `Score` or `None`; see `keras_attention.scores.get`. `None` where the layer
            has a score of its own.
        normalizer: Name or function; see `keras_attention.functional.normalize.get`.
        dropout: Float in `[0, 1)`, the fraction of attention weights dropped in training.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.
    """

    def __init__(self, score=None, normalizer="softmax", dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.score = None if score is None else scores.get(score, dtype=self.dtype_policy.name)
        self.normalizer = normalize.get(normalizer)
        self.dropout = checks.fraction("dropout", dropout)
        self.seed = seed
        if self.dropout or self.normalizer is normalize.hard:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def get_config(self):
        config = {
            "normalizer": normalize.serialize(self.normalizer),
            "dropout": self.dropout,
            "seed": self.seed,
        }
        if self.score is not None:
            config["score"] = keras.saving.serialize_keras_object(self.score)
        return {**super().get_config(), **config}

    def _build_score(self, query_shape, key_shape):
        if not self.score.built:  # a loaded score comes built
            self.score.build(query_shape, key_shape)

    def _attend(self, query, value, key, mask, score, training):
        """`attend` with this layer's normalizer and, in training, its noise and dropout."""
        return attend(
            query,
            value,
            key,
            score=score,
            normalizer=self._noisy_normalizer if training else self.normalizer,
            mask=mask,
            dropout=self._drop if training and self.dropout else None,
        )

    def _noisy_normalizer(self, scores, mask):
        if self.normalizer is not normalize.hard:
            return self.normalizer(scores, mask)
        noise = normalize.gumbel_noise(keras.ops.shape(scores), self.seed_generator)
        return normalize.hard(scores, mask, noise)

    def _drop(self, weights):
        return keras.random.dropout(weights, self.dropout, seed=self.seed_generator)
