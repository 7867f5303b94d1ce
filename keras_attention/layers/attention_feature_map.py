"""The attention feature map of ABCNN-1."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, positions
from keras_attention.functional.shapes import known_size
from keras_attention.layers.base import AttentionLayer
from keras_attention.scores.score import Score
from keras_attention.types import Initializer, LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionFeatureMap(AttentionLayer):
    """Attention feature map (ABCNN-1): features of how a text's steps match another text.

        A = score(query, value);  output = A W      A: (T, S), W: (S, D), learned

    Row i of the attention matrix A says how well step i matches each step of the other text. W,
    with one row per position in the other text, projects it to D features. A convolution over them
    and the text itself can then use where the texts agree:

        attention = ka.AttentionFeatureMap(max_length=50)
        x = keras.layers.Concatenate()([first, attention(first, second)])
        y = keras.layers.Concatenate()([second, attention(second, first)])

    One layer for both directions shares W, as the paper's own implementation does; two layers
    learn one W each. (For a convolution over steps, concatenated features and two channels are the
    same.) Costs O(B T S) memory, with the default score O(B T S D).

    Masking: see the layer contract (docs/contract.md). The query's mask is passed on.

    Args:
        max_length: Positive integer, the largest number S of steps of the other text.
        score: As in `ContentAttention`; `"euclidean"` is the paper's.
        normalizer: As in `ContentAttention`. `"identity"` is the paper's: no normalization.
        kernel_initializer: Initializer of W.
        dropout, seed: As in `ContentAttention`.

    Call arguments:
        query: Float tensor `(B, T, D)`, the text that gets the feature map.
        value: Float tensor `(B, S, D_value)`, the other text; D_value is D for most scores.
        query_mask, value_mask, attention_mask: Boolean masks, as in the contract.
        return_attention_scores: Whether to return the attention matrix too.
        training: As in the contract.

    Returns:
        The feature map `(B, T, D)`; with `return_attention_scores` also A, `(B, T, S)`, whose rows
        sum to one only with a normalizer such as `"softmax"`.

    Raises:
        ValueError: If `score` or `normalizer` is unknown or a number is out of range; if S is above
            `max_length`; if the tensors do not fit each other or the score; if a mask has a float
            dtype or another shape.

    Example:
        >>> first, second = keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))
        >>> attention = ka.AttentionFeatureMap(max_length=10)
        >>> attention(first, second).shape == (2, 3, 4), attention(second, first).shape == (2, 5, 4)
        (True, True)

    Reference:
        Yin et al., 2016, section 4.1 (ABCNN-1), https://arxiv.org/abs/1512.05193
        There all texts are padded to one length; here padding is masked in the matrix.
    """

    def __init__(
        self,
        max_length: int,
        score: str | Score = "euclidean",
        normalizer: Normalizer = "identity",
        kernel_initializer: Initializer = "glorot_uniform",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.max_length = checks.positive_integer("max_length", max_length)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, value_shape):
        checks.attention_shapes(query_shape, value_shape, None)
        self._check_length(value_shape[1], value_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.max_length, query_shape[-1]),
            initializer=self.kernel_initializer,
        )
        self._build_score(query_shape, value_shape)
        self.built = True

    def call(
        self,
        query: Tensor,
        value: Tensor,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """The attention feature map of one text, given another text.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            query: Float tensor `(B, T, D)`, the text that gets the feature map.
            value: Float tensor `(B, S, D_value)`, the other text, S at most `max_length`.

        Returns:
            The feature map `(B, T, D)`; with `return_attention_scores` a tuple of it and the
            attention matrix `(B, T, S)`.
        """
        self._check_length(known_size(value, 1), value.shape)
        query, value = self.floats(query, value)
        mask = masks.attention(query, value, query_mask, value_mask, None, attention_mask)
        query, _, key = masks.blank_unseen(
            query, value, value, query_mask, value_mask, None, attention_mask
        )
        kernel = ops.cast(self.kernel, query.dtype)
        kernel = ops.expand_dims(positions.leading(kernel, ops.shape(value)[1], axis=0), 0)
        features, weights = self._attend(query, kernel, key, mask, self.score, training)
        return (features, weights) if return_attention_scores else features

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _check_length(self, steps, value_shape):
        if steps is not None and steps > self.max_length:
            raise ValueError(
                f"`value` must have at most max_length={self.max_length} steps. Received: "
                f"value_shape={tuple(value_shape)}"
            )
