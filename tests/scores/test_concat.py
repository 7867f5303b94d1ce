"""ConcatScore."""

import numpy as np
import pytest

import keras_attention as ka
from tests.scores.oracle import KEY, QUERY, WIDE, check, random_weights


def test_rejects_bad_units():
    with pytest.raises(ValueError, match="`units` must be a positive integer or `None`.*units=0"):
        ka.ConcatScore(units=0)


def test_section_3_1_of_luong_2015_concat():
    score = ka.ConcatScore(units=7)
    w_q, w_k, v = random_weights(score, WIDE)
    w = np.concatenate([w_q, w_k])  # W [q; k]
    check(score, WIDE, lambda q, k: v[:, 0] @ np.tanh(w.T @ np.concatenate([q, k])))


def test_luong_concat_is_additive_without_bias():
    concat, additive = ka.ConcatScore(units=7), ka.AdditiveScore(units=7)
    additive(QUERY, WIDE)
    additive.set_weights(random_weights(concat, WIDE))
    np.testing.assert_allclose(concat(QUERY, WIDE), additive(QUERY, WIDE), rtol=1e-5)


def test_equation_of_seo_2017_linear_in_q_k_and_their_product():
    score = ka.ConcatScore("q,k,q*k", activation=None)
    w = np.concatenate(random_weights(score))[:, 0]
    check(score, KEY, lambda q, k: w @ np.concatenate([q, k, q * k]))


def test_all_terms_with_a_hidden_layer_and_bias():
    score = ka.ConcatScore("q, k, q*k, q-k, |q-k|", units=3, activation="relu", use_bias=True)
    w_q, b, w_k, w_m, w_d, w_a, v = random_weights(score)
    check(
        score,
        KEY,
        lambda q, k: (
            v[:, 0]
            @ np.maximum(
                w_q.T @ q + b + w_k.T @ k + w_m.T @ (q * k) + w_d.T @ (q - k) + w_a.T @ abs(q - k),
                0,
            )
        ),
    )


def test_a_linear_score_of_q_and_k_alone_is_refused():
    with pytest.raises(ValueError, match="weights do not depend on the query.*'q,k'"):
        ka.ConcatScore("q,k", activation=None)


@pytest.mark.parametrize("bad", ["", "q,q", "q/k", None, "q,,k"])
def test_rejects_bad_combination(bad):
    with pytest.raises(ValueError, match="`combination` must list different terms"):
        ka.ConcatScore(bad)


def test_rejects_units_of_a_linear_score():
    with pytest.raises(ValueError, match="no hidden layer.*units=3"):
        ka.ConcatScore("q*k", activation=None, units=3)
