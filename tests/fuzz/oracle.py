"""Attention in plain NumPy, float64, written from the equations alone.

Axes: B batch, H heads, G heads of keys and values, T query steps, S value steps, D features.
Nothing here knows how the package computes: no blocks, no shortcuts, one formula after the other.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass
class Answer:
    """What a layer should return.

    Args:
        output: Float array.
        weights: Float array.
        is_sure: Boolean `(B, T)`: rows in which no rounding can decide between two answers, such
            as the highest of two equal scores.
    """

    output: np.ndarray
    weights: np.ndarray
    is_sure: np.ndarray


# Scores: (..., T, Dq), (..., S, Dk) -> (..., T, S) -----------------------------------------------


def dot(query, key):
    return query @ np.swapaxes(key, -1, -2)


def scaled_dot(query, key):
    return dot(query, key) / np.sqrt(query.shape[-1])


def bilinear(query, key, kernel):
    return dot(query @ kernel, key)


def cosine(query, key, strength):
    norms = _norm(query)[..., :, None] * _norm(key)[..., None, :]
    return strength * np.divide(dot(query, key), norms, where=norms > 0, out=np.zeros(norms.shape))


def additive(query, key, query_kernel, key_kernel, v, bias=0.0):
    hidden = (query @ query_kernel)[..., :, None, :] + (key @ key_kernel)[..., None, :, :]
    return np.tanh(hidden + bias) @ v


def tanh_dot(query, key, kernel, bias=0.0):
    return dot(query, np.tanh(key @ kernel + bias))


def euclidean(query, key):
    return 1 / (1 + _norm(query[..., :, None, :] - key[..., None, :, :]))


TERMS = {
    "q": lambda q, k: q + 0 * k,
    "k": lambda q, k: k + 0 * q,
    "q*k": lambda q, k: q * k,
    "q-k": lambda q, k: q - k,
    "|q-k|": lambda q, k: np.abs(q - k),
}


def concat(query, key, combination, kernels, bias=0.0, v=None, activation=np.tanh):
    """`kernels` holds one part of W (or w) a term; `v` is `None` for the linear score."""
    total = 0.0
    for term, kernel in zip(combination.split(","), kernels, strict=True):
        if term == "q":
            part = np.repeat((query @ kernel)[..., :, None, :], key.shape[-2], axis=-2)
        elif term == "k":
            part = np.repeat((key @ kernel)[..., None, :, :], query.shape[-2], axis=-3)
        else:
            part = TERMS[term](query[..., :, None, :], key[..., None, :, :]) @ kernel
        total = total + part
    total = total + bias
    return total[..., 0] if v is None else activation(total) @ v


def location(query, key, kernel):
    return query @ kernel[:, : key.shape[-2]]


def distances(query_length, value_length, start=None):
    """Value step minus query step, `(T, S)`; the last query stands at the last value step."""
    start = value_length - query_length if start is None else start
    return np.arange(value_length)[None, :] - (start + np.arange(query_length))[:, None]


def clipped_position(query, key, vectors, max_distance, start=None):
    distance = distances(query.shape[-2], key.shape[-2], start)
    chosen = vectors[np.clip(distance, -max_distance, max_distance) + max_distance]  # (T, S, D)
    return np.einsum("...td,tsd->...ts", query, chosen) / np.sqrt(query.shape[-1])


def bucketed_position(query, key, table, max_distance, is_causal, start=None):
    """`table` is `(H, buckets)`; returns `(H, T, S)`."""
    distance = distances(query.shape[-2], key.shape[-2], start)
    of_distance = np.vectorize(
        lambda d: bucket(int(d), table.shape[-1], max_distance, is_causal), otypes=[int]
    )
    return table[:, of_distance(distance)]


def bucket(distance, num_buckets, max_distance, is_causal):
    """The bucket of T5, in whole numbers: `floor(log)` without a logarithm."""
    first = 0
    if is_causal:
        far = max(-distance, 0)
    else:
        num_buckets //= 2
        first = num_buckets if distance > 0 else 0
        far = abs(distance)
    exact = num_buckets // 2
    if far < exact:
        return first + far
    wide = num_buckets - exact
    # The largest j with log(far / exact) / log(max_distance / exact) * wide >= j.
    steps = [j for j in range(wide) if far**wide * exact**j >= max_distance**j * exact**wide]
    return first + exact + max(steps)


def alibi(query, key, slopes, start=None):
    """Returns `(H, T, S)`."""
    distance = np.abs(distances(query.shape[-2], key.shape[-2], start))
    return -np.asarray(slopes, float)[:, None, None] * distance


def alibi_slopes(heads):
    power = 2 ** int(np.floor(np.log2(heads)))
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    more = [2.0 ** (-8.0 * (i + 1) / (2 * power)) for i in range(2 * power)]
    return slopes + more[::2][: heads - power]


def rotate(x, positions, base=10000.0):
    """Features 2i and 2i + 1 as a complex number, turned by `position / base^(2i / D)`."""
    size = x.shape[-1]
    angles = positions[:, None] / base ** (2 * np.arange(size // 2) / size)  # (T, D / 2)
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def _norm(x):
    return np.sqrt(np.sum(x * x, axis=-1))


# Masks -------------------------------------------------------------------------------------------


def causal(query_length, value_length, start=None):
    return distances(query_length, value_length, start) <= 0


def window(query_length, value_length, width, num_global=0, start=None):
    distance = distances(query_length, value_length, start)
    step = np.arange(value_length)[None, :]
    query_step = step - distance
    is_global = (step < num_global) | ((query_step >= 0) & (query_step < num_global))
    return (np.abs(distance) < width) | is_global


def pairs(
    shape,
    query_mask=None,
    value_mask=None,
    key_mask=None,
    attention_mask=None,
    use_causal_mask=False,
    window_width=None,
    num_global=0,
    start=None,
):
    """All masks of one call as one of the full `shape`, `(B, T, S)` or `(B, H, T, S)`."""
    ones = (1,) * (len(shape) - 3)
    mask = np.ones(shape, bool)
    if query_mask is not None:
        mask &= np.asarray(query_mask, bool).reshape(shape[0], *ones, shape[-2], 1)
    for of_keys in (value_mask, key_mask):
        if of_keys is not None:
            mask &= np.asarray(of_keys, bool).reshape(shape[0], *ones, 1, shape[-1])
    if attention_mask is not None:
        attention_mask = np.asarray(attention_mask, bool)
        if attention_mask.ndim == 3 and len(shape) == 4:
            attention_mask = attention_mask[:, None]
        mask &= np.broadcast_to(attention_mask, shape)
    if use_causal_mask:
        mask &= causal(*shape[-2:], start)
    if window_width is not None:
        mask &= window(*shape[-2:], window_width, num_global, start)
    return mask


# Normalizers: scores (..., S), minus infinity where masked, each row with a step -> weights ------


def softmax(scores):
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def smooth(scores):
    sigmoids = sigmoid(scores)
    return sigmoids / sigmoids.sum(-1, keepdims=True)


def sparsemax(scores):
    return _by_threshold(scores, lambda excess: excess)


def entmax15(scores):
    return _by_threshold(scores / 2, lambda excess: excess**2)


def hard(scores):
    return np.eye(scores.shape[-1])[np.argmax(scores, axis=-1)]


def identity(scores):
    return np.where(np.isfinite(scores), scores, 0.0)


def uniform(scores):
    allowed = np.isfinite(scores)
    return allowed / allowed.sum(-1, keepdims=True)


def sigmoid(scores):
    return np.exp(-np.logaddexp(0, -scores))


NORMALIZERS = {
    "softmax": softmax,
    "smooth": smooth,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "hard": hard,
    "identity": identity,
    "uniform": uniform,
}


def _by_threshold(scores, raised):
    """`raised(max(scores - threshold, 0))` with the threshold at which it sums to one."""
    high = scores.max(-1, keepdims=True)
    low = high - 1.0  # one step alone has `raised(1) = 1` there
    for _ in range(60):
        middle = (low + high) / 2
        is_above_one = raised(np.maximum(scores - middle, 0)).sum(-1, keepdims=True) >= 1
        low, high = np.where(is_above_one, middle, low), np.where(is_above_one, high, middle)
    return raised(np.maximum(scores - low, 0))


def normalize(name, scores, mask, margin=0.0):
    """Weights, and a boolean for each row: whether it does not hang on less than `margin`."""
    scores, mask = np.broadcast_arrays(scores, mask)
    weights, is_sure = np.zeros(scores.shape), np.ones(scores.shape[:-1], bool)
    rows = mask.any(-1)
    if not rows.any():
        return weights, is_sure
    allowed = np.where(mask, scores, -np.inf)[rows]
    weights[rows] = NORMALIZERS[name](allowed)
    if name == "hard" and scores.shape[-1] > 1:
        second, first = np.moveaxis(np.sort(allowed, axis=-1)[:, -2:], -1, 0)
        is_sure[rows] = first - second > margin
    return weights, is_sure


# Layers ------------------------------------------------------------------------------------------


def attention(score, normalizer, query, key, value, mask, margin=0.0):
    """Score, normalize, average. `score` is a function of query and key."""
    shape = (query.shape[0], query.shape[1], value.shape[1])
    scores = np.broadcast_to(score(query, key), shape)
    weights, is_sure = normalize(normalizer, scores, mask, margin)
    return Answer(weights @ value, weights, is_sure)


def predicted_centers(query, mask, hidden_kernel, kernel):
    """`(B, T)`: `p_t = S sigmoid(v . tanh(W q_t))`, S the number of steps that the query sees."""
    return mask.sum(-1) * sigmoid((np.tanh(query @ hidden_kernel) @ kernel)[..., 0])


def local_attention(
    score,
    normalizer,
    query,
    key,
    value,
    mask,
    half_width,
    query_mask=None,
    centers=None,
    margin=0.0,
):
    """`centers` is `(B, T)` for predicted ones, or `None` for monotonic ones."""
    if centers is None:  # steps that any query sees, and queries that are not padding, are counted
        seen = mask.any(axis=1, keepdims=True)  # (B, 1, S)
        step = np.broadcast_to(np.cumsum(seen, axis=-1) - 1, mask.shape)
        queries = np.ones(query.shape[:2], int) if query_mask is None else np.asarray(query_mask)
        center = np.cumsum(queries.astype(int), axis=-1) - 1.0
    else:  # each query counts the steps that it sees itself
        step, center = np.cumsum(mask, axis=-1) - 1, centers
    offset = step - center[..., None]  # (B, T, S)
    near = np.abs(offset) <= half_width
    is_clear = np.abs(np.abs(offset) - half_width) > margin
    answer = attention(score, normalizer, query, key, value, mask & near, margin)
    weights = answer.weights
    if centers is not None:
        weights = weights * np.exp(-(offset**2) / (2 * (half_width / 2) ** 2))
        answer.is_sure = answer.is_sure & (is_clear | ~mask).all(-1)
    return Answer(weights @ value, weights, answer.is_sure)


def multi_head_attention(
    normalizer,
    query,
    key,
    value,
    mask,
    weights,
    position: Callable | None = None,
    rotary_base=None,
    start=None,
    margin=0.0,
):
    """`weights` maps `query/kernel` `(D, H, K)`, `query/bias` `(H, K)` and so on to arrays;
    `position` is a function of query and key `(B, H, T, K)` that returns scores."""

    def project(name, x):
        projected = np.einsum("btd,dhk->bhtk", x, weights[f"{name}/kernel"])
        bias = weights.get(f"{name}/bias")
        return projected if bias is None else projected + bias[:, None, :]

    query, key, value = (
        project("query", query),
        project("key", key),
        project("value", value),
    )
    groups = query.shape[1] // key.shape[1]
    key, value = np.repeat(key, groups, axis=1), np.repeat(value, groups, axis=1)
    steps, length = query.shape[-2], key.shape[-2]
    if rotary_base is not None:
        first = length - steps if start is None else start
        query = rotate(query, first + np.arange(steps), rotary_base)
        key = rotate(key, np.arange(length), rotary_base)
    scores = scaled_dot(query, key)
    if position is not None:
        scores = scores + position(query, key)
    rows, is_sure = normalize(normalizer, np.broadcast_to(scores, mask.shape), mask, margin)
    output = np.einsum("bhtv,hv...->bt...", rows @ value, weights["attention_output/kernel"])
    output = output + weights.get("attention_output/bias", 0.0)
    return Answer(output, rows, is_sure.all(axis=1))
