"""RelativePositionScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.scores.oracle import KEY, QUERY

RNG = np.random.default_rng(1)


def _with_random_weights(score, query, key):
    score(query, key)
    (weight,) = score.weights
    weight.assign(RNG.normal(size=weight.shape))
    return weight.numpy().astype("float64")


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 3, 6, 4)])  # without heads, with heads
def test_equation_4_of_shaw_2018(shape):
    k, d_z = 2, 4
    x_q, x_k = RNG.normal(size=shape), RNG.normal(size=shape)  # x W^Q and x W^K
    relative = ka.RelativePositionScore(max_distance=k)
    w_k = _with_random_weights(relative, x_q, x_k)
    assert w_k.shape == (5, 4)
    e = to_numpy((ka.ScaledDotScore() + relative)(x_q, x_k))
    for where in np.ndindex(shape[:-2]):
        for i in range(6):
            for j in range(6):
                a_k = w_k[max(-k, min(k, j - i)) + k]
                expected = x_q[where][i] @ (x_k[where][j] + a_k) / np.sqrt(d_z)
                np.testing.assert_allclose(e[where][i, j], expected, rtol=1e-4, atol=1e-5)


def _t5_bucket(relative_position, num_buckets, max_distance, bidirectional):
    """Mesh TensorFlow's formula, whose logarithms are kept from falling just below a whole."""
    bucket, n = 0, -relative_position
    if bidirectional:
        num_buckets //= 2
        bucket += (n < 0) * num_buckets
        n = abs(n)
    else:
        n = max(n, 0)
    max_exact = num_buckets // 2
    if n < max_exact:
        return bucket + n
    ratio = np.log(n / max_exact) / np.log(max_distance / max_exact)
    large = max_exact + int(ratio * (num_buckets - max_exact) + 1e-9)
    return bucket + min(large, num_buckets - 1)


@pytest.mark.parametrize("use_causal_buckets", [False, True])
def test_section_2_1_of_raffel_2020(use_causal_buckets):
    score = ka.RelativePositionScore(20, 8, use_causal_buckets)
    query, key = RNG.normal(size=(2, 3, 30, 4)), RNG.normal(size=(2, 1, 40, 4))
    bias = _with_random_weights(score, query, key)
    assert bias.shape == (3, 8)  # one scalar a head and bucket
    got = to_numpy(score(query, key))
    assert got.shape == (1, 3, 30, 40)
    for head, i, j in np.ndindex(3, 30, 40):
        bucket = _t5_bucket(j - (i + 10), 8, 20, not use_causal_buckets)
        np.testing.assert_allclose(got[0, head, i, j], bias[head, bucket], rtol=1e-6)


@pytest.mark.parametrize("num_buckets", [None, 8])
def test_a_query_alone_scores_as_in_its_sequence(num_buckets):
    score = ka.RelativePositionScore(3, num_buckets)
    _with_random_weights(score, KEY, KEY)
    whole = to_numpy(score(KEY, KEY))
    np.testing.assert_allclose(
        score(KEY[:, -2:], KEY), whole[:, -2:], rtol=1e-5, atol=1e-6
    )  # at the end
    for step in range(5):
        alone = score(KEY[:, step : step + 1], KEY, start=np.int32(step))
        np.testing.assert_allclose(alone, whole[:, step : step + 1], rtol=1e-5, atol=1e-6)


def test_distances_beyond_the_largest_count_as_that():
    score = ka.RelativePositionScore(2)
    got = to_numpy(score(QUERY, np.ones((2, 30, 4))))
    np.testing.assert_array_equal(got[..., :25], np.repeat(got[..., :1], 25, -1))


def test_rejects_bad_max_distance():
    with pytest.raises(ValueError, match="`max_distance` must be a positive integer.*distance=0"):
        ka.RelativePositionScore(0)


@pytest.mark.parametrize("arguments", [(4, 16), (1, 4), (8, 3), (8, 1, True)])
def test_rejects_buckets_that_do_not_reach_max_distance(arguments):
    with pytest.raises(ValueError, match=r"`num_buckets`.*max_distance=\d, num_buckets=\d"):
        ka.RelativePositionScore(*arguments)


def test_rejects_causal_buckets_without_buckets():
    with pytest.raises(ValueError, match="needs buckets.*num_buckets=None"):
        ka.RelativePositionScore(4, use_causal_buckets=True)
