"""Holds a score against its paper, one pair of query and key at a time."""

import numpy as np

from tests.backend import to_numpy

RNG = np.random.default_rng(0)
QUERY, KEY, WIDE = (RNG.normal(size=s) for s in ((2, 3, 4), (2, 5, 4), (2, 5, 6)))


def check(score, key, pair):
    """`pair(q, k)` is the paper's equation for one query and one key."""
    got = to_numpy(score(QUERY, key))
    expected = [[[pair(q, k) for k in ks] for q in qs] for qs, ks in zip(QUERY, key, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def random_weights(score, key=KEY):
    """Builds the score and returns the weights that it was given."""
    score(QUERY, key)
    for weight in score.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    return [w.astype("float64") for w in score.get_weights()]
