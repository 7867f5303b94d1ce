"""Hard attention: one step selected by given weights."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks, normalize
from keras_attention.layers.base import TracedLayer
from keras_attention.types import LayerOptions, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class HardSelection(TracedLayer):
    """Hard attention: one value step per query, sampled in training, else the argmax.

        s ~ Multinoulli(weights) or argmax(weights), as a one-hot row;  context = s value

    No gradient reaches the weights through the choice: train them with `ReinforceLoss`.
    `normalizer="hard"` of an attention layer is simpler, and learns by the straight-through
    gradient of Gumbel noise. Costs O(B T S) memory.

    Masking: steps of weight zero are never chosen and may hold anything. A row whose weights are
    all zero chooses nothing and gives zeros. The output has no mask.

    Args:
        seed: Integer seed of the samples, or `None`.

    Call arguments:
        weights: Float tensor `(B, S)` or `(B, T, S)`, rows that sum to one, as attention layers
            with the softmax normalizer return them.
        value: Float tensor `(B, S, D)`.
        return_attention_scores: Whether to return the choice too.
        training: Whether to sample.

    Returns:
        The chosen values `(B, D)` or `(B, T, D)`; with `return_attention_scores` also the choice,
        zeros and ones of the shape of the weights.

    Raises:
        ValueError: If the shapes are not as described, or weights and value differ in S.

    Example:
        >>> choose = ka.HardSelection()
        >>> tuple(choose(keras.ops.array([[0.2, 0.8]]), keras.ops.array([[[3.0], [4.0]]])).shape)
        (1, 1)

    Reference:
        Xu et al., 2015, section 4.1, https://arxiv.org/abs/1502.03044
        The paper uses the soft average in place of the sample for half of the images.
    """

    def __init__(self, seed: int | None = None, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, weights_shape, value_shape):
        checks.sequence("value", value_shape)
        steps = weights_shape[-1], value_shape[1]
        if len(weights_shape) not in (2, 3) or (None not in steps and steps[0] != steps[1]):
            raise ValueError(
                "`weights` must have the shape (batch, steps) or (batch, queries, steps) with the "
                f"steps of `value`. Received: weights_shape={tuple(weights_shape)}, "
                f"value_shape={tuple(value_shape)}"
            )
        self.built = True

    def call(
        self,
        weights: Tensor,
        value: Tensor,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Chooses one value step for each query.

        Args:
            weights: Float tensor `(B, S)` or `(B, T, S)`, each row summing to one.
            value: Float tensor `(B, S, D)`.
            return_attention_scores: Whether to return the choice too.
            training: Whether to sample the step; else it is the one with the largest weight.

        Returns:
            The chosen values `(B, D)` or `(B, T, D)`; with `return_attention_scores` a tuple of
            them and the choice, zeros and ones of the shape of the weights.
        """
        weights, value = self.floats(weights, value)
        use_one_query = len(weights.shape) == 2
        if use_one_query:
            weights = ops.expand_dims(weights, 1)  # (B, 1, S)
        allowed = weights > 0
        scores = ops.log(ops.where(allowed, ops.cast(weights, "float32"), 1.0))
        if training:
            scores = scores + normalize.gumbel_noise(ops.shape(scores), self.seed_generator)
        choice = ops.cast(ops.stop_gradient(normalize.hard(scores, allowed)), value.dtype)
        context = ops.matmul(choice, masks.blank(value, ops.any(allowed, axis=1)))  # (B, T, D)
        if use_one_query:
            context, choice = ops.squeeze(context, 1), ops.squeeze(choice, 1)
        return (context, choice) if return_attention_scores else context

    def compute_mask(self, *args, **kwargs):
        return None  # the output has no value steps

    def compute_output_shape(self, weights_shape, value_shape):
        return (*weights_shape[:-1], value_shape[-1])

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
