"""GaussianMixtureAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "three windows": Case(
            lambda **kw: ka.GaussianMixtureAttention(3, **kw),
            tensors={"query": "BTD", "value": "BSE"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value"},
            sums_to_one=False,
            is_slow=True,
        ),
    }


def test_equations_46_to_51_of_graves_2013():
    rng = np.random.default_rng(0)
    h, c = 0.5 * rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    layer = ka.GaussianMixtureAttention(2)
    window, phi = to_numpy(layer(h, c, return_attention_scores=True))
    kernel, bias = layer.get_weights()
    for n in range(2):
        kappa = np.zeros(2)
        for t in range(3):
            alpha_hat, beta_hat, kappa_hat = np.split(h[n, t] @ kernel + bias, 3)  # eq. 48
            alpha, beta = np.exp(alpha_hat), np.exp(beta_hat)  # eq. 49 and 50
            kappa = kappa + np.exp(kappa_hat)  # eq. 51
            expected = np.array(
                [
                    sum(alpha[k] * np.exp(-beta[k] * (kappa[k] - u) ** 2) for k in range(2))
                    for u in range(1, 6)
                ]
            )  # eq. 46
            np.testing.assert_allclose(phi[n, t], expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(window[n, t], expected @ c[n], rtol=1e-4, atol=1e-5)


def test_padding_anywhere_is_not_counted():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(1, 3, 4)), rng.normal(size=(1, 6, 4))
    mask = np.array([[False, True, False, True, True, False]])
    layer = ka.GaussianMixtureAttention(2)
    padded = to_numpy(layer(query, value, value_mask=mask, return_attention_scores=True)[1])
    short = to_numpy(layer(query, value[:, mask[0]], return_attention_scores=True)[1])
    np.testing.assert_allclose(padded[:, :, mask[0]], short, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(padded[:, :, ~mask[0]], 0)


def test_windows_only_move_forward_and_a_masked_query_leaves_them():
    rng = np.random.default_rng(0)
    layer = ka.GaussianMixtureAttention(2)
    query, value = rng.normal(size=(2, 6, 4)).astype("float32"), np.ones((2, 5, 3), "float32")
    layer(query, value)
    memory = layer.prepare(keras.ops.array(value))
    state = layer.initial_state(memory)
    for t in range(6):
        _, _, new = layer.step(keras.ops.array(query[:, t]), memory, state)
        assert (to_numpy(new["center"]) > to_numpy(state["center"])).all()
        state = new
    mask = np.array([[True, False, True, False, True, True]] * 2)
    masked = to_numpy(layer(query, value, query_mask=mask, return_attention_scores=True)[1])
    short = to_numpy(layer(query[:, mask[0]], value, return_attention_scores=True)[1])
    np.testing.assert_allclose(masked[:, mask[0]], short, atol=1e-6)


def test_huge_queries_stay_finite():
    layer = ka.GaussianMixtureAttention(2)
    layer(np.ones((1, 2, 4)), np.ones((1, 3, 4)))
    assert np.isfinite(to_numpy(layer(np.full((1, 2, 4), 1e6), np.ones((1, 3, 4))))).all()


def test_rejects_bad_num_components():
    with pytest.raises(ValueError, match="`num_components` must be a positive.*num_components=0"):
        ka.GaussianMixtureAttention(num_components=0)
