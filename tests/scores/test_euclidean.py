"""EuclideanScore."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import run, to_numpy
from tests.scores.oracle import KEY, QUERY, WIDE, check


def test_match_score_of_section_4_1_of_yin_2016():
    check(ka.EuclideanScore(), KEY, lambda q, k: 1 / (1 + np.sqrt(sum((q - k) ** 2))))


def test_equal_vectors_score_1_and_have_a_gradient():
    x = KEY.astype("float32")
    layer = ka.ContentAttention("euclidean", "identity")
    _, weights = layer(x, x, return_attention_scores=True)
    np.testing.assert_array_equal(np.diagonal(to_numpy(weights), axis1=1, axis2=2), 1)
    for jit in (False, True):
        _, _, gradients = run(layer, {"query": x, "value": x, "key": x}, jit=jit)
        assert all(np.isfinite(gradient).all() for gradient in gradients.values())
        assert np.abs(gradients["query"]).max() > 0


def test_the_gradient_is_that_of_the_distance():
    """Against differences of the definition, at vectors that are near but not equal."""
    score = ka.EuclideanScore()
    for distance in (1e-3, 1.0):
        query, key = np.zeros((1, 1, 2), "float32"), np.array([[[distance, 0.0]]], "float32")
        score(query, key)
        _, _, gradients = run(score, {"query": query, "key": key})
        slope = gradients["query"][0, 0, 0] / gradients["key"][0, 0, 0]
        np.testing.assert_allclose(slope, -1)
        coefficient = np.random.default_rng(0).normal(size=1)[0]  # as `run` weighs the output
        expected = coefficient / (1 + distance) ** 2
        np.testing.assert_allclose(gradients["query"][0, 0, 0], expected, rtol=1e-4)


def test_float16_does_not_overflow():
    score = ka.EuclideanScore(dtype="mixed_float16")
    got = to_numpy(score(np.full((1, 1, 4), 200.0), np.full((1, 1, 4), -200.0)))
    assert keras.backend.standardize_dtype(got.dtype) == "float16"
    np.testing.assert_allclose(got, [[[1 / 801]]], rtol=1e-2)


def test_rejects_keys_of_another_size():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        ka.EuclideanScore()(QUERY, WIDE)
