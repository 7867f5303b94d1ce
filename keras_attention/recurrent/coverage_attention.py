"""Coverage attention, over the sum of past weights."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.dense import Dense
from keras_attention.recurrent.additive import AdditiveRecurrentAttention
from keras_attention.types import LayerOptions, Normalizer, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class CoverageAttention(AdditiveRecurrentAttention):
    """Coverage attention: additive attention whose score includes the sum of its past weights.

        coverage_t = weights_0 + ... + weights_{t-1}
        score_ti = v . tanh(W_h h_i + W_s s_t + w_c coverage_ti + b)
        weights_t = normalizer(score_t);  context_t = weights_t h

    W_s: (D_query, units), W_h: (D_key, units), w_c: (units). Made for summaries, which should not
    repeat themselves. The coverage loss penalizes repetition: `loss_weight` times the sum over the
    steps i of `min(weights_ti, coverage_ti)`, averaged over all queries t that are not masked, is
    added to the model's loss. Costs O(B S units) memory per query; queries are processed
    sequentially.

    Where an `AttentionDecoder` takes a sequence in several calls, each with the last state of the
    one before, the coverage continues, and the loss of each call is the mean over its own queries.

    Under `keras.RematScope` an added loss has no gradient, in any Keras layer: train this one
    outside of it, or with `loss_weight=0` and your own loss on the returned weights.

    Masking: see the layer contract (docs/contract.md). A masked query does not change the coverage
    and adds no loss.

    Args:
        units: Positive integer, the size of the hidden layer; `None` for the size of the key.
        loss_weight: Number of at least 0, the strength of the coverage loss.
        normalizer, dropout, seed: As in `ContentAttention`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to one over the allowed steps.

    Raises:
        ValueError: If a name is unknown or a number out of range; if the tensors do not fit each
            other; if a mask has a float dtype or another shape.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.CoverageAttention(units=8)
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape), len(layer.losses)
        ((2, 3, 4), (2, 3, 5), 1)

    Reference:
        See, Liu & Manning, 2017, eq. 10 to 13, https://arxiv.org/abs/1704.04368
        As in the paper, where `loss_weight` is lambda = 1, and used only at the end of training.
    """

    def __init__(
        self,
        units: int | None = None,
        loss_weight: float = 1.0,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(units, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.loss_weight = checks.non_negative("loss_weight", loss_weight)

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.coverage_dense = Dense(
            self.hidden_size, use_bias=False, dtype=self.dtype_policy, name="coverage"
        )
        self.coverage_dense.build((None, None, 1))

    def initial_state(self, memory: State) -> State:
        """No coverage yet: dict of `"coverage"` `(B, S)` and what the loss counts, `(B,)`."""
        batch, length = ops.shape(memory["value"])[:2]
        coverage = ops.zeros((batch, length), self.state_dtype)
        return self.resume({"coverage": coverage})

    def resume(self, state: State) -> State:
        """The same coverage, with the counts of the loss at zero."""
        # Each call's loss is the mean over its own queries.
        count = ops.zeros_like(ops.sum(state["coverage"], axis=1))  # (B,)
        return {"coverage": state["coverage"], "repeated": count, "steps": count}

    def step(
        self, query: Tensor, memory: State, state: State, training: bool | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from one query per row, and adds its weights to the coverage.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        query = self.floats(query)
        coverage = state["coverage"]
        past = ops.cast(ops.expand_dims(coverage, -1), query.dtype)  # (B, S, 1)
        past = self.coverage_dense(past)  # (B, S, U)
        context, weights = self._attend_with(past, query, memory, training)
        new = ops.cast(weights, self.state_dtype)
        repeated = ops.sum(ops.minimum(new, coverage), axis=-1)  # (B,)
        state = {
            "coverage": coverage + new,
            "repeated": state["repeated"] + repeated,
            "steps": state["steps"] + 1.0,
        }
        return context, weights, state

    def finish(self, state: State) -> None:
        """Adds the coverage loss of the call."""
        if self.loss_weight:
            steps = ops.maximum(ops.sum(state["steps"]), 1.0)
            loss = self.loss_weight * ops.sum(state["repeated"]) / steps
            self.add_loss(ops.cast(loss, keras.config.floatx()))  # as Keras' own losses are

    def get_config(self):
        return {**super().get_config(), "loss_weight": self.loss_weight}
