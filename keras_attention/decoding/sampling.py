"""Sampling of tokens, with temperature, top-k and top-p."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention import checks
from keras_attention.decoding.greedy import decode
from keras_attention.decoding.stepper import Stepper, pick, plain
from keras_attention.functional import normalize
from keras_attention.types import State, Tensor


def sample(
    step: Callable[..., Any],
    start_token: int | Tensor,
    state: State,
    max_length: int,
    end_token: int | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | keras.random.SeedGenerator | None = None,
    pad_token: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sampling: decodes each token at random, by its probability.

        p = softmax(logits / temperature);  keep the top k, of these the fewest that sum to top_p

    The kept probabilities are rescaled to sum to one. One `ops.while_loop`, as `greedy_search`;
    compiles under XLA and exports to SavedModel, but not to TFLite, which has no random operators.
    With the same seed, eager and compiled runs and the backends sample different tokens.

    Args:
        step, start_token, state, max_length, end_token, pad_token: As in `greedy_search`.
        temperature: Positive number. Below 1 likely tokens become more likely, above 1 less.
        top_k: Positive integer, the number of most probable tokens to keep, or `None` for all.
        top_p: Number in `(0, 1]`: keeps the most probable tokens, as few as needed for their
            probabilities to sum to it. `None` for all.
        seed: Integer, for the same tokens at every call; a `keras.random.SeedGenerator`, for
            different ones; or `None`. A SavedModel that should sample different tokens at each call
            needs a generator that it tracks, such as an attribute of its layer or model.

    Returns:
        As `greedy_search`. The log-likelihood is that of the model, at temperature 1 and over all
        tokens.

    Raises:
        ValueError: As in `greedy_search`; if `temperature`, `top_k` or `top_p` is out of range, or
            `top_k` above V.

    Example:
        >>> def step(token, state):
        ...     return keras.ops.ones((2, 50)), state
        >>> tokens, scores, lengths = ka.sample(
        ...     step, start_token=[0, 0], state=None, max_length=3, top_k=10, seed=1
        ... )
        >>> tuple(tokens.shape)
        (2, 3)

    Reference:
        Fan, Lewis & Dauphin, 2018, section 5.2 (top-k), https://arxiv.org/abs/1805.04833
        Holtzman et al., 2020, eq. 2 and 3 (top-p), https://arxiv.org/abs/1904.09751
        As in the papers; with both, top-p applies to the tokens that top-k keeps.
    """
    max_length, top_k = plain(max_length), plain(top_k)
    _check(temperature, top_k, top_p)
    checks.positive_integer("max_length", max_length)
    stepper = Stepper(step, start_token, state, end_token)
    # All at once: not every backend can advance a generator's state inside a loop.
    batch = ops.shape(stepper.token)[0]
    uniform = keras.random.uniform((max_length, batch), dtype="float32", seed=seed)

    def choose(log_probabilities, i):
        best, tokens = _candidates(log_probabilities, top_k)  # (B, k), best first
        best = (best - best[:, :1]) / max(temperature, 1e-30)  # less may be zero in float32
        probabilities = ops.exp(normalize.log_probabilities(best))
        cumulative = ops.cumsum(probabilities, axis=-1)
        kept = probabilities > 0.0
        if top_p is not None and top_p < 1:
            kept = ops.logical_and(kept, cumulative - probabilities < top_p)
        mass = ops.where(kept, probabilities, 0.0)
        cumulative = ops.cumsum(mass, axis=-1)
        # Inverse transform sampling: the first token whose cumulative mass exceeds the point.
        point = ops.expand_dims(ops.take(uniform, i, axis=0), -1) * cumulative[:, -1:]
        index = ops.sum(ops.cast(cumulative <= point, "int32"), axis=-1, keepdims=True)
        last = ops.sum(ops.cast(kept, "int32"), axis=-1, keepdims=True) - 1
        return pick(tokens, ops.minimum(index, last))[:, 0]

    return decode(stepper, max_length, end_token, pad_token, choose)


def _candidates(log_probabilities, top_k):
    vocabulary = log_probabilities.shape[-1]
    if top_k is not None and top_k > vocabulary:
        raise ValueError(
            "`top_k` must be at most the size of the vocabulary. Received: "
            f"top_k={top_k}, logits.shape={tuple(log_probabilities.shape)}"
        )
    return ops.top_k(log_probabilities, top_k or vocabulary)


def _check(temperature, top_k, top_p):
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not 0 < temperature < float("inf"):
        raise ValueError(
            f"`temperature` must be a positive number. Received: temperature={temperature!r}"
        )
    checks.positive_integer("top_k", top_k, optional=True)
    number = isinstance(top_p, int | float) and not isinstance(top_p, bool)
    if top_p is not None and not (number and 0 < top_p <= 1):
        raise ValueError(f"`top_p` must be a number in (0, 1]. Received: top_p={top_p!r}")
