"""ContentAttention."""

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, InBlocks, LayerContract


def _case(score, is_random=False, sees_all=True, **kwargs):
    key = "D" if score in ("dot", "scaled_dot", "cosine") else "F"
    return Case(
        lambda **kw: ka.ContentAttention(score, **{**kwargs, **kw}),
        tensors={"query": "BTD", "value": "BSE", "key": "BS" + key},
        weights="BTS",
        masks={"query_mask": "query", "value_mask": "value", "key_mask": "key"},
        attention_mask="BTS",
        is_causal=True,
        is_random=is_random,
        sees_all=sees_all,
    )


class TestContract(LayerContract):
    cases = {
        "default, value as key": Case(
            ka.ContentAttention,
            tensors={"query": "BTD", "value": "BSD"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value"},
            attention_mask="BTS",
            is_causal=True,
        ),
        "dot": _case("dot"),
        "bilinear": _case("bilinear"),
        "cosine": _case("cosine"),
        "concat": _case("concat"),
        "additive": _case("additive"),
        "sparsemax": _case("scaled_dot", normalizer="sparsemax"),
        "entmax15": _case("scaled_dot", normalizer="entmax15"),
        "hard": _case("additive", is_random=True, normalizer="hard"),
        "window": _case("additive", sees_all=False, window=2),
    }


class TestContractInBlocks(InBlocks, LayerContract):
    cases = {
        "dot": _case("dot"),
        "additive": _case("additive"),
        "hard": _case("additive", is_random=True, normalizer="hard"),
        "window": _case("bilinear", sees_all=False, window=2),
    }


def test_equations_5_and_6_of_bahdanau_2015():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    layer = ka.ContentAttention(score=ka.AdditiveScore(units=7))
    context, alpha = to_numpy(layer(query, value, return_attention_scores=True))
    w_q, w_k, v = [w.astype("float64") for w in to_numpy([w.value for w in layer.weights])]
    for b in range(2):
        for i in range(3):
            e = np.array(
                [v[:, 0] @ np.tanh(w_q.T @ query[b, i] + w_k.T @ value[b, j]) for j in range(5)]
            )
            expected = np.exp(e) / np.exp(e).sum()
            np.testing.assert_allclose(alpha[b, i], expected, rtol=1e-5)
            np.testing.assert_allclose(context[b, i], expected @ value[b], rtol=1e-4, atol=1e-5)


def test_hard_weights_are_one_step_and_in_training_a_sample():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(1, 1, 4)), rng.normal(size=(1, 3, 4))
    layer = ka.ContentAttention(score="scaled_dot", normalizer="hard", seed=1)
    soft = ka.ContentAttention(score="scaled_dot")
    probability = to_numpy(soft(query, value, return_attention_scores=True)[1])[0, 0]
    query, value = np.repeat(query, 4000, 0), np.repeat(value, 4000, 0)
    greedy = to_numpy(layer(query, value, return_attention_scores=True)[1])[:, 0]
    np.testing.assert_array_equal(greedy.argmax(-1), probability.argmax())
    drawn = to_numpy(layer(query, value, return_attention_scores=True, training=True)[1])[:, 0]
    np.testing.assert_allclose(drawn.max(-1), 1, atol=1e-6)
    np.testing.assert_allclose(drawn.mean(0), probability, atol=0.03)


def test_a_function_is_a_normalizer():
    def uniform(scores, mask=None):
        return scores * 0 + 1 / scores.shape[-1]

    value = np.random.default_rng(0).normal(size=(2, 5, 4))
    context = ka.ContentAttention(normalizer=uniform)(value[:, :3], value)
    np.testing.assert_allclose(to_numpy(context)[:, 0], value.mean(1), rtol=1e-5, atol=1e-6)


def test_rejects_bad_score():
    with pytest.raises(ValueError, match="`score` must be one of 'additive'.*score='cosin'"):
        ka.ContentAttention(score="cosin")


def test_rejects_bad_normalizer():
    with pytest.raises(ValueError, match="`normalizer` must be one of 'softmax'.*normalizer=1"):
        ka.ContentAttention(normalizer=1)


def test_rejects_key_and_value_of_different_lengths():
    with pytest.raises(ValueError, match=r"same number of steps.*value_shape=\(2, 5, 4\), key_sh"):
        ka.ContentAttention()(np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, 6, 4)))


def test_rejects_sizes_that_the_score_cannot_compare():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        ka.ContentAttention("dot")(np.ones((2, 3, 4)), np.ones((2, 5, 6)))
