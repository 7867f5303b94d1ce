"""What all attention layers share: the three steps, symbolic shapes, config and masks."""

import dataclasses
from typing import Any, Unpack

import keras

from keras_attention import checks, scores
from keras_attention.functional import masks, normalize
from keras_attention.functional.attend import attend
from keras_attention.functional.attention import Attention, Keys, Steps
from keras_attention.layer import BaseLayer
from keras_attention.memory.policy import query_blocks
from keras_attention.scores import Score
from keras_attention.scores.dot_product import dots
from keras_attention.types import LayerOptions, Normalizer


class TracedLayer(BaseLayer):
    """A layer whose symbolic outputs are found by tracing `call`."""

    def compute_output_spec(self, *args, **kwargs):
        # By tracing `call`, so that no shape is stated twice and a second output is never lost.
        # Blocks would give the same shapes, and take longer to trace.
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

    What every layer keeps, and the arguments of its calls: see
    the layer contract (docs/contract.md).

    Args:
        score: Name, `Score` or `None`; see `keras_attention.scores.get`. `None` where the layer
            has a score of its own.
        normalizer: Name or function; see `keras_attention.functional.normalize.get`. A function
            must treat each row of scores alone: large scores are computed some rows at a time.
        dropout: Float in `[0, 1)`, the dropout rate of the attention weights in training.
        seed: Integer seed of dropout and of the hard normalizer's noise, or `None`.

    Raises:
        ValueError: For an unknown score or normalizer, and for a dropout rate outside `[0, 1)`.
    """

    def __init__(
        self,
        score: str | Score | None = None,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.score: Any = None if score is None else scores.get(score, dtype=self.dtype_policy.name)
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
    def uses_positions(self) -> bool:
        """Whether the output for a query depends on its position among the others."""
        return self.score is not None and self.score.uses_positions

    def _build_score(self, query_shape, key_shape):
        if not self.score.built:  # a loaded score comes built
            self.score.build(query_shape, key_shape)

    def _attention(
        self, query, keys, score, training=False, *, start=None, query_mask=None, segments=None
    ):
        """The `Attention` of a call: this layer's normalizer and, in training, noise and dropout.

        Args:
            query: Tensor `(..., T, D_query)`.
            keys: `Keys`, each key as the layer was given it.
            score: A `Score`, or a function `(query, key, start) -> scores (..., T, S)`.
            training: Whether to apply dropout and noise.
            start, query_mask, segments: As in `Attention`.
        """
        is_softmax = self.normalizer is normalize.softmax
        dropout = self._drop if training and self.dropout else None
        compare, known = score, {}
        if isinstance(score, Score):
            key = score.prepare_key(keys.key)
            is_relative = score.is_relative and all(
                part.shape[-2:-1] == keys.key.shape[-2:-1] for part in keras.tree.flatten(key)
            )
            keys = dataclasses.replace(keys, key=key)
            known = {"pair_size": score.pair_size, "is_relative": is_relative}
            if score.dot_scale is None:
                compare, known["variables"] = score.compare, score.variables
            else:  # no variables are read in blocks of it
                query, compare = score.prepare_query(query), _dot_product(score.dot_scale)
                known["dot_scale"] = score.dot_scale if is_softmax and dropout is None else None
        steps = Steps(compare, self._normalize, dropout, is_softmax=is_softmax, **known)
        return Attention(steps, query, keys, start, query_mask, segments, self._seed(training))

    def _attend(self, query, value, key, mask, score, training):
        """The context and the weights of a call without positions; see `_attention`."""
        return attend(self._attention(query, Keys(key, value, mask), score, training))

    def _seed(self, training):
        """The seeds of the random numbers that a call draws, or `None` if it draws none."""
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
    """Base of the layers with a sliding window.

    Args:
        window: Positive integer W: steps W or more apart do not attend to each other; `None` for no
            window.
        num_global: Integer: the first `num_global` steps attend to, and are attended by, all.
        score, normalizer, dropout, seed: As in `AttentionLayer`.

    Raises:
        ValueError: For a `window` or `num_global` that is not a positive integer, for `num_global`
            without a window and, in a call, for one with T != S.
    """

    def __init__(self, *, window: int | None = None, num_global: int = 0, **kwargs: Any) -> None:
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
    def uses_positions(self) -> bool:
        """Whether the output for a query depends on its position among the others."""
        return self.window is not None or super().uses_positions

    def _rule(self, use_causal_mask, query, value):
        """The mask defined by positions; see `functional.masks.rule`."""
        steps, length = query.shape[1], value.shape[1]
        known = isinstance(steps, int) and isinstance(length, int)
        if self.num_global and known and steps != length:
            raise ValueError(
                "`num_global` needs as many steps of the query as of the value. Received: "
                f"query.shape={tuple(query.shape)}, value.shape={tuple(value.shape)}"
            )
        return masks.rule(use_causal_mask, self.window, self.num_global)
