"""ALiBi: attention with linear biases."""

from collections.abc import Sequence
from typing import Unpack

import keras
from keras import ops

from keras_attention.functional import positions
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ALiBiScore(Score):
    """ALiBi score: a penalty proportional to the distance, with one fixed slope per head.

        score_h(t, s) = -m_h |s - t|

    No weights; only the lengths of query and key count. Add it to a content score with `+`. The
    last query has the position of the last key. Without heads there is one slope. Made for causal
    masks; without one, earlier and later steps are penalized alike. It has no maximum length, and a
    model trained on short sequences runs on longer ones. Costs O(H T S) time and memory.

    Args:
        slopes: Sequence of positive numbers m_h, one per head; `None` for the paper's, from
            2^(-8 / H) down to 2^-8.

    Call arguments:
        query: Tensor `(B, T, D)`, or with heads `(B, H, T, D)`.
        key: Tensor `(B, S, D)`, or with heads `(B, G, S, D)`.
        start: Integer or scalar tensor, the position of the first query; `None` for S - T.

    Returns:
        Scores `(1, T, S)`, with heads `(1, H, T, S)`, the same for the whole batch.

    Raises:
        ValueError: If a slope is not a positive number, or there is not one per head.

    Example:
        >>> x = keras.ops.ones((1, 3, 4))
        >>> print(keras.ops.convert_to_numpy(ka.ALiBiScore(slopes=[0.5])(x, x)))
        [[[-0.  -0.5 -1. ]
          [-0.5 -0.  -0.5]
          [-1.  -0.5 -0. ]]]

    Reference:
        Press, Smith & Lewis, 2022, section 3, https://arxiv.org/abs/2108.12409
        As in the paper, which has causal masks only.
    """

    def __init__(
        self, slopes: Sequence[float] | None = None, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self.slopes = None if slopes is None else _positive_numbers(slopes)

    def build(self, query_shape, key_shape):
        heads = query_shape[-3] if len(query_shape) > 3 else 1
        if self.slopes is not None and len(self.slopes) != heads:
            raise ValueError(
                "`slopes` must have one number per head. Received: "
                f"slopes={self.slopes}, query_shape={tuple(query_shape)}"
            )
        self.built = True

    uses_positions = True

    def compare(self, query: Tensor, key: Tensor, start: int | Tensor) -> Tensor:
        """The penalties, `(1, T, S)` or with heads `(1, H, T, S)`; see `Score.compare`."""
        distance = positions.distances(ops.shape(query)[-2], ops.shape(key)[-2], start)
        heads = query.shape[-3] if len(query.shape) > 3 else 1
        slopes = self.slopes or positions.alibi_slopes(heads)
        slopes = ops.reshape(ops.convert_to_tensor(slopes, "float32"), (1, heads, 1, 1))
        scores = -slopes * ops.cast(ops.abs(distance), "float32")  # (1, H, T, S)
        scores = ops.cast(scores, query.dtype)
        return scores if len(query.shape) > 3 else ops.squeeze(scores, 1)

    def get_config(self):
        return {**super().get_config(), "slopes": self.slopes}


def _positive_numbers(slopes):
    slopes = [slopes] if isinstance(slopes, (int, float)) else list(slopes)
    if not slopes or not all(isinstance(m, (int, float)) and m > 0 for m in slopes):
        raise ValueError(f"`slopes` must be positive numbers. Received: slopes={slopes}")
    return [float(m) for m in slopes]
