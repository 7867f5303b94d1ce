"""Monotonic attention, which only moves forward."""

import math
from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import normalize
from keras_attention.recurrent.additive import AdditiveRecurrentAttention
from keras_attention.recurrent.time_loop import time_loop
from keras_attention.types import LayerOptions, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class MonotonicAttention(AdditiveRecurrentAttention):
    """Monotonic attention: continues at the step where it last stopped, and never goes back.

        energy_ij = g v / |v| . tanh(W s_i + V h_j + b) + r;  p_ij = sigmoid(energy_ij)

    Each query goes through the steps, from the one where the last query stopped, and stops at step
    j with probability p_ij. Its weights are the probabilities to stop: in training the expected
    ones; in the hard and the median form, for inference, 1 for a single step, so that a sequence
    can be read while it arrives. A query that reaches the end without stopping attends to nothing:
    a row of weights may sum to less than one, even to zero, and then so do all later rows.

    W: (D_query, units), V: (D_key, units), b, v: (units); g and r are scalars. Costs
    O(B S units) memory per query; queries are processed sequentially. If S is dynamic, the parallel
    form reads 65,536 steps at most.

    Masking: see the layer contract (docs/contract.md). Masked steps are skipped wherever they are,
    and a masked query does not move the stop.

    Args:
        units: Positive integer, the size of the hidden layer; `None` for the size of the key.
        form: `"parallel"` computes the expected weights of all steps at once; `"recursive"` the
            same step by step, slower, as in the definition; `"hard"` stops at the first step with
            p > 1/2, and `"median"` at the first step at which the query has stopped, there or
            before, with a probability above 1/2. In training, as they have no gradient, both equal
            `"parallel"`.
        noise: Number of at least 0, the standard deviation of the noise added to the energies in
            training. It drives p towards 0 or 1, which the hard form needs: it passes over steps of
            p = 0.4 that follow each other, of which the median form stops at the second.
        initial_offset: Number, the initial value of the offset r. The longer the sequence, the
            lower it should be, or early steps get all the weight.
        dropout: As in `ContentAttention`.
        seed: Integer seed of dropout and noise, or `None`.

    Call arguments:
        query: Float tensor `(B, T, D_query)`.
        value: Float tensor `(B, S, D_value)`.
        key: Float tensor `(B, S, D_key)`; the value if `None`.
        query_mask, value_mask, key_mask: Boolean masks, as in the contract.
        return_attention_scores: As in the contract.
        training: Whether to apply dropout and noise.

    Returns:
        The context `(B, T, D_value)`; with `return_attention_scores` also the weights
        `(B, T, S)`, each row summing to at most one.

    Raises:
        ValueError: If `form` is unknown or a number out of range; if the tensors do not fit each
            other; if a mask has a float dtype or another shape.

    Example:
        >>> query, value = keras.ops.ones((2, 3, 6)), keras.ops.ones((2, 5, 4))
        >>> layer = ka.MonotonicAttention(units=8, form="hard")
        >>> context, weights = layer(query, value, return_attention_scores=True)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 4), (2, 3, 5))

    Reference:
        Raffel et al., 2017, eq. 9 to 14 and sections 2.2 to 2.5, https://arxiv.org/abs/1704.00784
        There the parallel form divides by a cumulative product, which is zero after p = 1; here the
        same sums are computed in log2(S) rounds, exact for any p. The median form is not of the
        paper.
    """

    def __init__(
        self,
        units: int | None = None,
        form: str = "parallel",
        noise: float = 0.0,
        initial_offset: float = -1.0,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(units, dropout=dropout, seed=seed, **kwargs)
        if form not in FORMS:
            raise ValueError(
                f"`form` must be one of {', '.join(map(repr, FORMS))}. Received: form={form!r}"
            )
        self.form = form
        self.noise = checks.non_negative("noise", noise)
        self.initial_offset = checks.number("initial_offset", initial_offset)
        if self.noise and not self.dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.gain = self.add_weight(
            name="gain",
            shape=(),
            initializer=keras.initializers.Constant(self.hidden_size**-0.5),
        )
        self.offset = self.add_weight(
            name="offset", shape=(), initializer=keras.initializers.Constant(self.initial_offset)
        )

    def initial_state(self, memory: State) -> State:
        """A stop at the first step: dict of `"weights"` `(B, S)`."""
        batch, length = ops.shape(memory["value"])[:2]
        is_first = ops.equal(ops.arange(length, dtype="int32"), 0)
        nothing = ops.zeros((batch, 1), self.state_dtype)
        return {"weights": nothing + ops.cast(is_first, self.state_dtype)}  # (B, S)

    def step(
        self, query: Tensor, memory: State, state: State, training: bool | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Attends from one query per row, from the last stop onwards.

        Args:
            query: Float tensor `(B, D_query)`.
            memory: What `prepare` returned.
            state: What `initial_state` or the step before returned.
            training: Whether to apply dropout and noise.

        Returns:
            The context `(B, D_value)`, the weights `(B, S)` and the next state.
        """
        energy = self._energies(self.floats(query), memory["key"])  # (B, S)
        if training and self.noise:
            noise = keras.random.normal(
                ops.shape(energy), dtype=self.state_dtype, seed=self.seed_generator
            )
            energy = energy + self.noise * noise
        probability = normalize.sigmoid(energy, memory.get("mask"))
        form = "parallel" if training and self.form in ("hard", "median") else self.form
        stops = FORMS[form](probability, state["weights"])  # (B, S)
        context, weights = self._average(stops, memory, training)
        return context, weights, {"weights": stops}

    def get_config(self):
        config = super().get_config()
        del config["normalizer"]  # the forms are its normalizers
        return {
            **config,
            "form": self.form,
            "noise": self.noise,
            "initial_offset": self.initial_offset,
        }

    def _energies(self, query, key):
        hidden = self.energy.hidden(ops.expand_dims(query, 1), key)[:, 0]  # (B, S, U)
        parts = hidden, self.energy.score_dense.kernel[:, 0], self.gain, self.offset
        hidden, direction, gain, offset = (ops.cast(x, self.state_dtype) for x in parts)
        direction = direction * ops.rsqrt(ops.sum(ops.square(direction)) + 1e-12)  # (U,)
        return gain * ops.sum(hidden * direction, axis=-1) + offset


def parallel(probability, before):
    """Expected weights of a query, from those `before` it, both `(B, S)`: eq. 9 for all steps.

    `reach_j = pass_{j-1} reach_{j-1} + before_j`, for `pass = 1 - p`, is solved by doubling: the
    sum of what reaches j from at most 1, 2, 4, ... steps before.
    """
    length = probability.shape[1]
    rounds = max(length - 1, 0).bit_length() if isinstance(length, int) else 16  # for 65,536 steps
    passes = _shift(1.0 - probability, 1)
    reach = before
    for distance in (2**i for i in range(rounds)):
        reach = reach + passes * _shift(reach, distance)
        passes = passes * _shift(passes, distance)
    return probability * reach


def recursive(probability, before):
    """Expected weights of a query, from those `before` it, both `(B, S)`: eq. 13 and 14."""

    def step(inputs, reach):
        probability, before, passes = inputs
        reach = passes * reach + before
        return probability * reach, reach

    inputs = probability, before, _shift(1.0 - probability, 1)
    return time_loop(step, inputs, ops.zeros_like(before[:, 0]))[0]


def hard(probability, before):
    """1 for the first step with p > 1/2 from the last stop on, both `(B, S)`: section 2.2."""
    return _first(ops.logical_and(_is_open(before), probability > 0.5), before.dtype)


def median(probability, before):
    """1 for the median of the stop, from the last one on, both `(B, S)`.

    To have passed all steps up to j has the probability `prod_k (1 - p_k)`: the first j at which it
    is below 1/2. A sum of logarithms: TFLite has no product over a row.
    """
    is_open = _is_open(before)
    passes = ops.log(ops.maximum(1.0 - probability, 1e-20))
    passed = ops.cumsum(ops.where(is_open, passes, ops.zeros_like(passes)), axis=1)
    return _first(ops.logical_and(is_open, passed < math.log(0.5)), before.dtype)


FORMS = {"parallel": parallel, "recursive": recursive, "hard": hard, "median": median}


def _is_open(before):
    """Which steps are not behind the last stop, `(B, S)`."""
    return ops.cumsum(before, axis=1) > 0.5


def _first(stops, dtype):
    """1 for the first step of each row that is true, else 0."""
    stops = ops.cast(stops, dtype)
    return stops * ops.cast(ops.cumsum(stops, axis=1) < 1.5, dtype)


def _shift(x, distance):
    """`x` `(B, S)` shifted to the right by `distance` steps, filled with zeros."""
    length = x.shape[1]
    if length is None:  # the distance may exceed it: the result has the length of x
        return ops.concatenate([ops.zeros_like(x[:, :distance]), x[:, :-distance]], axis=1)
    return ops.pad(x, [[0, 0], [distance, 0]])[:, :length]
