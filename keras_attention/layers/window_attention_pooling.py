"""The attention-weighted pooling of ABCNN-2."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import AttentionLayer
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class WindowAttentionPooling(AttentionLayer):
    """Window attention pooling (ABCNN-2): sums windows of steps, weighted by another text.

        A = score(query, value);  a_j = sum_k A_kj;  output_j = sum of a_i value_i over a window

    Between two convolutions, in place of average pooling over windows of a few steps: the weight
    of a step is the attention a_j that it receives from the other text. The weights of a window do
    not sum to one: steps that match more are also larger. Costs O(B T S) memory, with the default
    score O(B T S D).

    Masking: see the layer contract (docs/contract.md). With `padding="same"` the value's mask is
    passed on; with `"valid"` a window is masked if all of its steps are.

    Args:
        window: Positive integer, the number of steps in a window.
        padding: `"same"`: each step is the centre of a window (for an even size, the left of two
            centres), and the length stays the same. `"valid"`: only whole windows, so that the
            length shrinks by `window - 1`.
        score: As in `ContentAttention`; `"euclidean"` is the paper's.
        normalizer: As in `ContentAttention`; `"identity"` is the paper's: no normalization. With
            `"softmax"` each step of the other text has one unit of attention to give.
        dropout: Float in `[0, 1)`, the dropout rate of the matrix A in training.
        seed: As in `ContentAttention`.

    Call arguments:
        value: Float tensor `(B, S, D)`, the text to pool, usually the output of a convolution.
        query: Float tensor `(B, T, D_query)`, the other text; D_query is D for most scores.
        value_mask, query_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The windows `(B, S, D)`, or `(B, S - window + 1, D)` for `padding="valid"`; with
        `return_attention_scores` also the weights a, `(B, S)`, which do not sum to one.

    Raises:
        ValueError: If a name is unknown or a number out of range; if the tensors do not fit each
            other or the score; if S is below `window` with `padding="valid"`; if a mask has a float
            dtype or another shape.

    Example:
        >>> first, second = keras.ops.ones((2, 5, 4)), keras.ops.ones((2, 3, 4))
        >>> layer = ka.WindowAttentionPooling(window=2)
        >>> windows, weights = layer(first, second, return_attention_scores=True)
        >>> tuple(windows.shape), tuple(weights.shape)
        ((2, 5, 4), (2, 5))

    Reference:
        Yin et al., 2016, section 4.2 (ABCNN-2), https://arxiv.org/abs/1512.05193
        `padding="valid"` is the paper's, after a convolution that lengthens the text. `"same"`
        after a convolution with `padding="same"` keeps the length, and the mask, at every layer.
    """

    def __init__(
        self,
        window: int,
        padding: str = "same",
        score: str | Score = "euclidean",
        normalizer: Normalizer = "identity",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.window = checks.positive_integer("window", window)
        if padding not in ("same", "valid"):
            raise ValueError(f'`padding` must be "same" or "valid". Received: padding={padding!r}')
        self.padding = padding

    def build(self, value_shape, query_shape):
        checks.attention_shapes(query_shape, value_shape, None)
        length = value_shape[1]
        if self.padding == "valid" and length is not None and length < self.window:
            raise ValueError(
                f"`value` must have at least window={self.window} steps. Received: "
                f"value_shape={tuple(value_shape)}"
            )
        self._build_score(query_shape, value_shape)
        self.built = True

    def call(
        self,
        value: Tensor,
        query: Tensor,
        value_mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Sums the steps of each window, weighted by the attention that they receive.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            value: Float tensor `(B, S, D)`, the text to pool.
            query: Float tensor `(B, T, D_query)`, the other text.

        Returns:
            The windows `(B, S, D)`, or `(B, S - window + 1, D)` for `padding="valid"`; with
            `return_attention_scores` a tuple of them and the weights `(B, S)`.
        """
        value, query = self.floats(value, query)
        mask = masks.attention(query, value, query_mask, value_mask)
        value, query = masks.blank(value, value_mask), masks.blank(query, query_mask)
        seed = self._seed(training)
        scores = self.score(query, value)
        matrix = ops.cast(self._normalize(scores, mask, seed), value.dtype)  # (B, T, S)
        weights = ops.sum(matrix, axis=1)  # (B, S)
        received = weights
        if training and self.dropout:
            received = ops.sum(self._drop(matrix, seed), axis=1)
        windows = self._sum_windows(ops.expand_dims(received, -1) * value)  # (B, S or less, D)
        return (windows, weights) if return_attention_scores else windows

    def compute_mask(self, inputs, previous_mask=None):
        if previous_mask is None or self.padding == "same":
            return previous_mask
        count = self._sum_windows(ops.expand_dims(ops.cast(previous_mask, "float32"), -1))
        return ops.any(ops.greater(count, 0), axis=-1)

    def get_config(self):
        return {**super().get_config(), "window": self.window, "padding": self.padding}

    def _sum_windows(self, x):
        """Sums over the windows of `x`, a tensor `(B, S, _)`."""
        if self.padding == "same":
            around = ((self.window - 1) // 2, self.window // 2)  # as a convolution pads
            if x.shape[1] == 0:
                return x
            x = ops.pad(x, ((0, 0), around, (0, 0)))
        return ops.average_pool(x, self.window, strides=1, padding="valid") * self.window
