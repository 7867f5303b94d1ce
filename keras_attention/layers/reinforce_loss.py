"""REINFORCE loss: training of hard attention."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional.reinforce import reinforce_objective
from keras_attention.layers.base import TracedLayer
from keras_attention.types import LayerOptions, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ReinforceLoss(TracedLayer):
    """REINFORCE loss: trains hard attention by the log-likelihood reached with its choices.

        b <- m b + (1 - m) mean(log p(y | s))                                  moving baseline
        maximized:  log p(y | s) + r (log p(y | s) - b) log p(s) + e H(weights)

    for choices s sampled by `HardSelection`, with the factor of r held constant; H is the entropy.
    The value of the loss is the negative log-likelihood `-mean(log p(y | s))` alone, so that
    training logs can be read. Unlike the straight-through gradient this one is unbiased, but
    noisy: it takes more steps.

    Use it at the end of a training model that takes the target as an input, compiled without any
    other loss; a second model over the same layers, without the target, predicts. Not under a
    `keras.RematScope`, where an added loss has no gradient, in any Keras layer.

    Args:
        reward_weight: Number r of at least 0.
        entropy_weight: Number e of at least 0; a higher one keeps the weights from becoming one-hot
            early.
        momentum: Float m in `[0, 1)`, the momentum of the moving baseline.

    Call arguments:
        log_likelihood: Float tensor `(B,)`: log p(y | s) of each example, summed over the tokens of
            a target sequence.
        choice: Zeros and ones `(B, S)` or `(B, T, S)`, as sampled by `HardSelection`.
        probabilities: Float tensor of the same shape, the weights that the choice was sampled from.
        training: Whether to update the baseline.

    Returns:
        `log_likelihood`, for an output of the training model.

    Raises:
        ValueError: If a number is out of range, or a tensor does not have the axes described.

    Example:
        >>> import numpy as np
        >>> steps = keras.Input((None, 4))
        >>> target = keras.Input((), dtype="int32")
        >>> _, weights = ka.AttentionPooling()(steps, return_attention_scores=True)
        >>> context, choice = ka.HardSelection()(weights, steps, return_attention_scores=True)
        >>> logits = keras.layers.Dense(3)(context)
        >>> log_p = -keras.ops.sparse_categorical_crossentropy(target, logits, from_logits=True)
        >>> outputs = ka.ReinforceLoss(entropy_weight=0.01)(log_p, choice, weights)
        >>> model, predictor = keras.Model([steps, target], outputs), keras.Model(steps, logits)
        >>> model.compile("adam")
        >>> history = model.fit([np.ones((8, 5, 4)), np.zeros(8, int)], verbose=0)
        >>> predictor(np.ones((2, 5, 4))).shape == (2, 3)
        True

    Reference:
        Xu et al., 2015, section 4.1, https://arxiv.org/abs/1502.03044
        As in the paper, with one sample per example.
    """

    def __init__(
        self,
        reward_weight: float = 1.0,
        entropy_weight: float = 0.0,
        momentum: float = 0.9,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        # Sums of logarithms stay in float32 under mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.reward_weight = checks.non_negative("reward_weight", reward_weight)
        self.entropy_weight = checks.non_negative("entropy_weight", entropy_weight)
        self.momentum = checks.fraction("momentum", momentum)

    def build(self, log_likelihood_shape, choice_shape, probabilities_shape):
        if len(log_likelihood_shape) != 1:
            raise ValueError(
                "`log_likelihood` must have the shape (batch,). Received: "
                f"log_likelihood_shape={tuple(log_likelihood_shape)}"
            )
        if len(choice_shape) not in (2, 3) or len(choice_shape) != len(probabilities_shape):
            raise ValueError(
                "`choice` and `probabilities` must both have the shape (batch, steps) or (batch, "
                f"queries, steps). Received: choice_shape={tuple(choice_shape)}, "
                f"probabilities_shape={tuple(probabilities_shape)}"
            )
        self.baseline = self.add_weight(
            name="baseline",
            shape=(),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            trainable=False,
        )
        self.built = True

    def call(
        self,
        log_likelihood: Tensor,
        choice: Tensor,
        probabilities: Tensor,
        training: bool | None = None,
    ) -> Tensor:
        """Adds the loss of the choices to the model.

        Args:
            log_likelihood: Float tensor `(B,)`.
            choice: Zeros and ones `(B, S)` or `(B, T, S)`.
            probabilities: Float tensor of the shape of `choice`.
            training: Whether to update the baseline.

        Returns:
            `log_likelihood` `(B,)`, unchanged.
        """
        baseline = self.baseline.value
        if training:
            mean = ops.mean(ops.stop_gradient(ops.cast(log_likelihood, "float32")))
            baseline = self.momentum * baseline + (1.0 - self.momentum) * mean
            self.baseline.assign(baseline)
        objective = reinforce_objective(
            log_likelihood,
            choice,
            probabilities,
            baseline,
            self.reward_weight,
            self.entropy_weight,
        )
        self.add_loss(-objective)
        return log_likelihood

    def get_config(self):
        return {
            **super().get_config(),
            "reward_weight": self.reward_weight,
            "entropy_weight": self.entropy_weight,
            "momentum": self.momentum,
        }
