"""What image captioning needs beyond the library: a penalty, and attention that draws one place."""

import keras
from keras import ops

import keras_attention as ka


@keras.saving.register_keras_serializable(package="recipes")
class DoublyStochasticPenalty(keras.layers.Layer):
    """Adds a loss that asks of attention to look at every place about equally in all.

        rate * sum_s (1 - sum_t weights_ts)^2 / number of words

    The paper adds it to the loss of a caption; here both are taken a word.

    Args:
        rate: Number of at least 0.

    Call arguments:
        logits: Tensor, passed on: a layer whose output is not used is left out of a model.
        weights: Float tensor `(B, T, S)`, zeros where padded.
        counted: Boolean `(B, T)`, the steps that are words.

    Returns:
        The logits.

    Reference:
        Xu et al., 2015, eq. 14, https://arxiv.org/abs/1502.03044
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, logits, weights, counted):
        looked = ops.sum(ops.cast(weights, "float32"), axis=1)  # (B, S)
        words = ops.sum(ops.cast(counted, "float32"), axis=1)  # (B,)
        missed = ops.sum(ops.square(1.0 - looked), axis=-1)
        missed = ops.where(words > 0, missed / ops.maximum(words, 1.0), 0.0)
        self.add_loss(self.rate * ops.mean(missed))
        return logits

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="recipes")
class HardAttention(keras.layers.Layer):
    """Attention to one place: in training drawn, else the one of the largest weight.

    As in the paper, half of the training images get the average instead of the draw.

    Args:
        units: Positive integer, the size of the hidden layer of the additive score.
        seed: Integer seed of the draws, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D)`.
        value: Float tensor `(B, S, M)`.
        query_mask, value_mask: Boolean `(B, T)` and `(B, S)`, or `None`.
        return_attention_scores: Whether to return the weights too.
        training: Whether to draw.

    Returns:
        The context `(B, T, M)` and, where asked for, `(B, T, 2 S)`: the choice, zeros and a one
        (zeros alone where the average was taken), and beside it the probabilities it was drawn by.
        `ka.ReinforceLoss` needs both.

    Reference:
        Xu et al., 2015, section 4.1, https://arxiv.org/abs/1502.03044
    """

    def __init__(self, units, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.seed = units, seed
        score = ka.AdditiveScore(units, dtype=self.dtype_policy)
        self.attention = ka.ContentAttention(score, dtype=self.dtype_policy, name="weigh")
        self.select = ka.HardSelection(seed=seed, dtype=self.dtype_policy, name="select")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, value_shape):
        self.attention.build(query_shape, value_shape)
        self.select.build((None, None, value_shape[1]), value_shape)
        self.built = True

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        return_attention_scores=False,
        training=None,
    ):
        average, weights = self.attention(
            query,
            value,
            key,
            query_mask=query_mask,
            value_mask=value_mask,
            return_attention_scores=True,
        )
        context, choice = self.select(
            weights, value, return_attention_scores=True, training=training
        )
        choice = ops.cast(choice, weights.dtype)
        if training:
            shape = (ops.shape(query)[0], 1, 1)
            draws = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < 0.5
            context = ops.where(draws, context, average)
            choice = ops.where(draws, choice, 0.0)
        weights = ops.concatenate([choice, weights], axis=-1)
        return (context, weights) if return_attention_scores else context

    def compute_output_spec(self, *args, **kwargs):
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, query_shape, value_shape):
        return (*query_shape[:-1], value_shape[-1])

    def get_config(self):
        return {**super().get_config(), "units": self.units, "seed": self.seed}
