"""Normalizers: a row of scores becomes a row of weights.

Every normalizer is a function `(scores, mask=None) -> weights` over the last axis. Masked steps
get a weight of exactly zero, a row without any allowed step is all zeros, and the arithmetic runs
in float32 at least, whatever the dtype of the scores.
"""

import keras
from keras import ops

from keras_attention.target import is_for_tflite

# The least score in TFLite files, once the row's maximum over allowed steps is subtracted, and what
# stands in for a masked one: float16 and int8 calibration survive it, and exp(-30) is far below
# float32's 1e-7.
_LEAST_SCORE = -30.0
LOWEST = -3e38


def softmax(scores, mask=None):
    """`exp(scores) / sum(exp(scores))` over the allowed steps.

    Example:
        >>> scores = keras.ops.array([[1.0, 1.0, 5.0]])
        >>> print(keras.ops.convert_to_numpy(softmax(scores, [[True, True, False]])))
        [[0.5 0.5 0. ]]
    """
    if mask is None:
        return softmax_of_rows(scores)
    mask = ops.cast(mask, "bool")
    if is_for_tflite():
        return _softmax_for_tflite(scores, mask)
    weights = softmax_of_rows(scores, mask)
    return _finish(weights, mask, weights.dtype)


def softmax_of_rows(scores, mask=None):
    """`softmax` for rows that each have an allowed step; others get arbitrary weights.

    Fewer passes over the scores, where the caller blanks rows without a step at less cost.
    """
    wide, dtype = _widen(scores)
    weights = _softmax(wide if mask is None else ops.where(mask, wide, LOWEST))
    return weights if weights.dtype == dtype else ops.cast(weights, dtype)


def _softmax_for_tflite(scores, mask):
    """With one select over all scores: TFLite is slow to broadcast the condition."""
    wide, dtype = _widen(scores)
    wide = ops.where(mask, wide, LOWEST)
    # A float16 file may hold the lowest as infinity: a row without a step must not subtract it.
    top = ops.max(wide, axis=-1, keepdims=True)
    top = ops.where(ops.any(mask, axis=-1, keepdims=True), top, 0.0)
    weights = _softmax(ops.maximum(wide - top, _LEAST_SCORE))
    return ops.cast(weights * ops.cast(mask, weights.dtype), dtype)


def _softmax(x):
    # Of a single step Keras warns, which is no mistake here: a document of one sentence.
    return ops.ones_like(x) if x.shape[-1] == 1 else ops.softmax(x, axis=-1)


def sparsemax(scores, mask=None):
    """Euclidean projection of the scores onto the simplex: many weights are exactly zero.

    Reference:
        Martins & Astudillo, 2016, Algorithm 1, https://arxiv.org/abs/1602.02068
    """
    # A score more than 1 below the maximum has weight 0, so -2 says the same as -1000, and keeps
    # the cumulative sums of long rows exact.
    shifted, mask, dtype = _shift(scores, mask, floor=-2.0, masked_score=-2.0)
    ordered = _descending(ops.stop_gradient(shifted))  # (..., S)
    rank = _ranks(ordered)
    support = ordered * rank + 1.0 > ops.cumsum(ordered, axis=-1)
    total = ops.sum(ops.where(support, ordered, 0.0), axis=-1, keepdims=True)
    inside, size = _support(shifted, (total - 1.0) / _count(support, shifted.dtype))
    threshold = (ops.sum(inside * shifted, axis=-1, keepdims=True) - 1.0) / size
    return _finish(ops.relu(shifted - threshold), mask, dtype)


def entmax15(scores, mask=None):
    """Entmax with alpha = 1.5: between softmax and sparsemax, smooth and sparse.

    Reference:
        Peters, Niculae & Martins, 2019, Algorithm 2, https://arxiv.org/abs/1905.05702
    """
    # A score more than 2 below the maximum has weight 0.
    shifted, mask, dtype = _shift(scores, mask, floor=-4.0, masked_score=-4.0)
    half = shifted / 2.0
    ordered = _descending(ops.stop_gradient(half))  # (..., S)
    rank = _ranks(ordered)
    mean = ops.cumsum(ordered, axis=-1) / rank
    spread = ops.cumsum(ops.square(ordered), axis=-1) - rank * ops.square(mean)
    threshold = mean - ops.sqrt(ops.maximum((1.0 - spread) / rank, 0.0))
    is_last = ops.equal(rank, _count(threshold <= ordered, half.dtype))
    inside, size = _support(
        half, ops.sum(ops.where(is_last, threshold, 0.0), axis=-1, keepdims=True)
    )
    # Once more over the support alone, so that the gradient passes through it.
    mean = ops.sum(inside * half, axis=-1, keepdims=True) / size
    spread = ops.sum(inside * ops.square(half - mean), axis=-1, keepdims=True)
    threshold = mean - ops.sqrt((1.0 - spread) / size)
    return _finish(ops.square(ops.relu(half - threshold)), mask, dtype)


def hard(scores, mask=None, noise=None):
    """One step takes all: weight 1 for the highest score, 0 for the others.

    The gradient is the one of softmax (straight-through). With Gumbel `noise` of the shape of the
    scores, as layers pass it in training, the step is a sample from softmax(scores).

    Reference:
        Jang, Gu & Poole, 2017, section 2.2, https://arxiv.org/abs/1611.01144
    """
    if noise is not None:
        scores = ops.cast(scores, noise.dtype) + noise
    shifted, mask, dtype = _shift(scores, mask, floor=None, masked_score=LOWEST)
    # argmax of floats has no TFLite operator. One more step than there are, as there may be none.
    padded = shifted
    if not (shifted.shape[-1] or is_for_tflite()):
        padded = ops.pad(
            shifted, [[0, 0]] * (len(shifted.shape) - 1) + [[0, 1]], "constant", LOWEST
        )
    winner = ops.top_k(padded, 1)[1]  # (..., 1)
    steps = ops.arange(ops.shape(shifted)[-1], dtype=winner.dtype)
    chosen = ops.cast(ops.equal(winner, steps), shifted.dtype)  # (..., S)
    if noise is not None:
        soft = softmax(shifted, mask)
        chosen = ops.stop_gradient(chosen - soft) + soft
    return _finish(chosen, mask, dtype)


def smooth(scores, mask=None):
    """`sigmoid(scores) / sum(sigmoid(scores))`: several high scores share the weight evenly.

    Where softmax grows exponentially with a score, the bounded sigmoid does not, so that no single
    step takes all: good for reading speech frame by frame.

    Reference:
        Chorowski et al., 2015, section 2.3 (smoothing), https://arxiv.org/abs/1506.07503
    """
    scores, dtype = _widen(scores)
    if mask is not None:  # a masked score may be NaN, and so would the gradient of its sigmoid
        scores = ops.where(ops.cast(mask, "bool"), scores, 0.0)
    return ops.cast(softmax(_log_sigmoid(scores), mask), dtype)


def sigmoid(scores, mask=None):
    """`sigmoid(scores)`: each step on its own, a probability; a row need not sum to one."""
    scores, dtype = _widen(scores)
    mask = None if mask is None else ops.cast(mask, "bool")
    return _finish(ops.sigmoid(scores), mask, dtype)


def identity(scores, mask=None):
    """The scores themselves, for scores that are weights already; a row need not sum to one.

    Example:
        >>> scores = keras.ops.array([[0.5, 1.0, 5.0]])
        >>> print(keras.ops.convert_to_numpy(identity(scores, [[True, True, False]])))
        [[0.5 1.  0. ]]
    """
    _, dtype = _widen(scores)
    scores = ops.cast(scores, dtype)
    return _finish(scores, None if mask is None else ops.cast(mask, "bool"), dtype)


def uniform(scores, mask=None):
    """Equal weights over the allowed steps, whatever the scores: no attention, to compare with.

    The gradient of the scores is zero.

    Example:
        >>> scores = keras.ops.array([[0.5, 1.0, 5.0]])
        >>> print(keras.ops.convert_to_numpy(uniform(scores, [[True, True, False]])))
        [[0.5 0.5 0. ]]

    Reference:
        Wiegreffe & Pinter, 2019, section 3.2, https://arxiv.org/abs/1908.04626
    """
    scores, dtype = _widen(scores)
    # Not `ones_like`: Keras would warn that weights of the score have no gradient.
    allowed = 1.0 + 0.0 * ops.clip(scores, -1.0, 1.0)
    mask = None if mask is None else ops.cast(mask, "bool")
    allowed = allowed if mask is None else ops.where(mask, allowed, 0.0)
    count = ops.maximum(ops.sum(allowed, axis=-1, keepdims=True), 1.0)
    return _finish(allowed / count, mask, dtype)


def log_probabilities(scores):
    """`log(softmax(scores))`, exact also where the probability itself would round to zero."""
    return ops.log_softmax(_shift(scores, None, floor=None, masked_score=None)[0], axis=-1)


def gumbel_noise(shape, seed):
    """Standard Gumbel noise: float32 of `shape`; `seed` as in `keras.random`."""
    uniform = keras.random.uniform(shape, minval=1e-7, maxval=1.0, dtype="float32", seed=seed)
    return -ops.log(-ops.log(uniform))


NORMALIZERS = {
    "softmax": softmax,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "hard": hard,
    "identity": identity,
    "smooth": smooth,
    "uniform": uniform,
}


def get(identifier):
    """The normalizer for a name, a function `(scores, mask) -> weights` or a saved config.

    Raises:
        ValueError: for anything else, with the names that exist.
    """
    if isinstance(identifier, str) and identifier in NORMALIZERS:
        return NORMALIZERS[identifier]
    if isinstance(identifier, dict):
        identifier = keras.saving.deserialize_keras_object(identifier)
    if callable(identifier):
        return identifier
    raise ValueError(
        f"`normalizer` must be one of {', '.join(map(repr, NORMALIZERS))} or a function "
        f"`(scores, mask) -> weights`. Received: normalizer={identifier!r}"
    )


def serialize(normalizer):
    """The name of one of our normalizers, or Keras' config of a registered function."""
    for name, known in NORMALIZERS.items():
        if normalizer is known:
            return name
    return keras.saving.serialize_keras_object(normalizer)


def _shift(scores, mask, floor, masked_score):
    """Scores minus the row's maximum over allowed steps, in float32 or wider."""
    scores, dtype = _widen(scores)
    if mask is None:
        if floor is None:  # plain softmax shifts by itself
            return scores, None, dtype
        return ops.maximum(scores - _largest(scores), floor), None, dtype
    mask = ops.cast(mask, "bool")
    allowed = ops.where(mask, scores, LOWEST)
    scores = scores - _largest(allowed)
    if floor is not None:
        scores = ops.maximum(scores, floor)
    return ops.where(mask, scores, masked_score), mask, dtype


def _widen(x):
    """`x` in float32 at least, integers in `floatx`; and the dtype that its weights have."""
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float" not in dtype:
        dtype = keras.config.floatx()
        return ops.cast(x, dtype), dtype
    return (ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x), dtype


def _log_sigmoid(x):
    """`log(sigmoid(x))` without overflow; a softplus overflows as TFLite computes it."""
    is_positive = ops.greater(x, 0)
    lowered = ops.where(is_positive, -x, x)  # -|x|, with the gradient of x at 0
    return ops.where(is_positive, 0.0, x) - ops.log(1.0 + ops.exp(lowered))


def _finish(weights, mask, dtype):
    """Exact zeros where masked, also in rows where nothing is allowed, in the scores' dtype."""
    if mask is not None:
        weights = ops.where(mask, weights, 0.0)
    return weights if weights.dtype == dtype else ops.cast(weights, dtype)


def _largest(x):
    """The largest of each row `(..., 1)`, as a constant; also where there is no row at all."""
    return ops.stop_gradient(ops.max(x, axis=-1, keepdims=True, initial=LOWEST))


def _descending(x):
    return ops.top_k(x, ops.shape(x)[-1])[0]


def _ranks(x):
    """1, 2, ... S in the dtype of `x`."""
    return ops.cast(ops.arange(1, ops.shape(x)[-1] + 1, dtype="int32"), x.dtype)


def _count(condition, dtype):
    """How many are true in each row `(..., 1)`, at least one: an empty row has no threshold."""
    return ops.maximum(ops.sum(ops.cast(condition, dtype), axis=-1, keepdims=True), 1.0)


def _support(x, threshold):
    """Which elements of `x` lie above the threshold, as 0 or 1, and how many `(..., 1)`.

    Compared with the threshold and not with the last element above it: XLA may compute `x` here
    once more, rounded in another way, so that an element would not equal itself. One that close to
    the threshold has a weight of about zero, whether it counts or not.
    """
    above = ops.stop_gradient(x) > threshold
    return ops.cast(above, x.dtype), _count(above, x.dtype)
