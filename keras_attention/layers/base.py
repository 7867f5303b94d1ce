"""What all attention layers share: the three steps, symbolic shapes, config and masks."""

import keras

from keras_attention import checks, scores
from keras_attention.functional import masks, normalize
from keras_attention.functional.attend import attend
from keras_attention.functional.blocks import query_blocks
from keras_attention.layer import BaseLayer
from keras_attention.scores import Score
from keras_attention.scores.dot_product import dots


class TracedLayer(BaseLayer):
    """A layer whose symbolic outputs are found by tracing `call`."""

    def compute_output_spec(self, *args, **kwargs):
        # By tracing `call`, so that no shape is stated twice and a second output is never lost.
        # The shapes are those of a whole; blocks would be traced for nothing.
        with query_blocks(threshold=None):
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
      Integers may stand for booleans; a mask of floats is an error.
    - Integer inputs are cast to the dtype that the layer computes in.
    - Masked steps may hold anything, also `inf` and `nan`: no output and no gradient changes.
    - A query without any step to attend to gets zero weights, a zero context and zero gradients.
    - A causal mask is aligned at the end: the last query sees every step, also for T != S. Keras'
      own layers align at the start.
    - Weights are computed in float32 under mixed precision.

    Args:
        score: Name, `Score` or `None`; see `keras_attention.scores.get`. `None` where the layer
            has a score of its own.
        normalizer: Name or function; see `keras_attention.functional.normalize.get`. A function
            must treat each row of scores alone: large scores come some rows at a time.
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

    @property
    def uses_positions(self):
        """Whether a query that is asked alone may get another answer than among others."""
        return self.score is not None and self.score.uses_positions

    def _build_score(self, query_shape, key_shape):
        if not self.score.built:  # a loaded score comes built
            self.score.build(query_shape, key_shape)

    def _attend(
        self,
        query,
        value,
        key,
        mask,
        score,
        training,
        *,
        query_mask=None,
        rule=None,
        first=None,
        variables=(),
        return_weights=True,
    ):
        """`attend` with this layer's normalizer and, in training, its noise and dropout.

        Args:
            score: A `Score`, or a function `(query, key, start) -> scores`.
            query_mask, rule, first, variables: As in `attend`.
            return_weights: Whether the weights are wanted, or only the context: then they may be
                computed in blocks of queries.
        """
        pair_size, is_relative, dot_scale = 1, True, None
        if isinstance(score, Score):
            pair_size, dot_scale = score.pair_size, score.dot_scale
            prepared = score.prepare_key(key)
            is_relative = score.is_relative and all(
                part.shape[-2:-1] == key.shape[-2:-1] for part in keras.tree.flatten(prepared)
            )
            if dot_scale is None:
                variables, compare = score.variables, score.compare
            else:  # no variables are read in blocks of it
                query, compare = score.prepare_query(query), _dot_product(dot_scale)
            key, score = prepared, compare
        is_softmax = self.normalizer is normalize.softmax
        is_plain = is_softmax and not (training and self.dropout)
        return attend(
            query,
            value,
            key,
            score=score,
            normalizer=self._normalize,
            mask=mask,
            query_mask=query_mask,
            rule=rule,
            dropout=self._drop if training and self.dropout else None,
            seed=self._seed(training),
            pair_size=None if return_weights else pair_size,
            is_relative=is_relative,
            variables=variables,
            first=first,
            dot_scale=dot_scale if is_plain else None,
            is_softmax=is_softmax,
        )

    def _seed(self, training):
        """The generator of what a call draws, or `None` if it draws nothing."""
        draws = training and (self.dropout or self.normalizer is normalize.hard)
        return self.seed_generator if draws else None

    def _normalize(self, scores, mask, seed=None):
        if seed is None or self.normalizer is not normalize.hard:
            return self.normalizer(scores, mask)
        noise = normalize.gumbel_noise(keras.ops.shape(scores), seed)
        return normalize.hard(scores, mask, noise)

    def _drop(self, weights, seed):
        return keras.random.dropout(weights, self.dropout, seed=seed)


def _dot_product(scale):
    return lambda query, key, start: dots(query * scale, key)


class WindowedLayer(AttentionLayer):
    """Base of the layers that may look at near steps alone.

    Args:
        window: Positive integer, from what distance on steps don't see each other, or `None`.
        num_global: Integer, the first steps that see all steps and are seen by all.
        score, normalizer, dropout, seed: As in `AttentionLayer`.
    """

    def __init__(self, *, window=None, num_global=0, **kwargs):
        super().__init__(**kwargs)
        self.window = checks.positive_integer("window", window, optional=True)
        self.num_global = num_global
        if num_global:
            checks.positive_integer("num_global", num_global)
        if num_global and window is None:
            raise ValueError(
                f"`num_global` needs a `window`. Received: num_global={num_global}, window=None"
            )

    def get_config(self):
        return {**super().get_config(), "window": self.window, "num_global": self.num_global}

    @property
    def uses_positions(self):
        return self.window is not None or super().uses_positions

    def _rule(self, use_causal_mask, query, value):
        """Which steps see each other by their numbers; see `functional.masks.rule`."""
        steps, length = query.shape[1], value.shape[1]
        known = isinstance(steps, int) and isinstance(length, int)
        if self.num_global and known and steps != length:
            raise ValueError(
                "`num_global` needs as many steps of the query as of the value. Received: "
                f"query.shape={tuple(query.shape)}, value.shape={tuple(value.shape)}"
            )
        return masks.rule(use_causal_mask, self.window, self.num_global)
