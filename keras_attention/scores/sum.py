"""Sum of scores."""

from collections.abc import Sequence
from typing import Unpack

import keras
from keras import ops

from keras_attention.scores import names
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class SumScore(Score):
    """Sum of scores, such as one of content and one of position.

        score(q, k) = score_1(q, k) + score_2(q, k) + ...

    `score_1 + score_2` gives the same. Costs the sum of its terms.

    Args:
        scores: List or tuple of at least one name or `Score`; see `ContentAttention` for the names.

    Raises:
        ValueError: If `scores` is empty or no list or tuple, or a name is unknown.

    Example:
        >>> score = ka.SumScore(["additive", ka.LocationScore(max_length=8)])
        >>> score(keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True
        >>> layer = ka.ContentAttention(score=ka.ScaledDotScore() + ka.ALiBiScore())

    Reference:
        Shaw, Uszkoreit & Vaswani, 2018, eq. 5, https://arxiv.org/abs/1803.02155
        There the sum of a content and a position term.
    """

    def __init__(self, scores: Sequence[str | Score], **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        if not isinstance(scores, (list, tuple)) or not scores:
            raise ValueError(
                "`scores` must be a list of at least one name or `Score`. Received: "
                f"scores={scores!r}"
            )
        self.scores = [names.get(score, dtype=self.dtype_policy.name) for score in scores]

    def build(self, query_shape, key_shape):
        for score in self.scores:
            if not score.built:  # a loaded score comes built
                score.build(query_shape, key_shape)
        self.built = True

    def prepare_key(self, key: Tensor) -> State:
        """A list with the prepared key of each score."""
        return [score.prepare_key(key) for score in self.scores]

    def compare(self, query: Tensor, prepared: State, start: int | Tensor) -> Tensor:
        """The sum of the scores, `(..., T, S)`; see `Score.compare`."""
        pairs = zip(self.scores, prepared, strict=True)
        parts = [score.compare(query, part, start) for score, part in pairs]
        return sum(ops.cast(part, self.compute_dtype) for part in parts)

    @property
    def uses_positions(self) -> bool:
        """Whether any of the scores reads positions."""
        return any(score.uses_positions for score in self.scores)

    @property
    def is_relative(self) -> bool:
        """Whether all scores depend on distances at most."""
        return all(score.is_relative for score in self.scores)

    @property
    def pair_size(self) -> int:
        """The sum over the scores."""
        return sum(score.pair_size for score in self.scores)

    def query_size(self, key_size: int) -> int:
        """The number of features of a learned query that fits all scores."""
        sizes = [score.query_size(key_size) for score in self.scores]
        return next((size for size in sizes if size != key_size), key_size)

    def get_config(self):
        scores = [keras.saving.serialize_keras_object(score) for score in self.scores]
        return {**super().get_config(), "scores": scores}
