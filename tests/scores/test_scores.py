"""Each score against its paper, one pair of query and key at a time."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import scores
from tests.backend import to_numpy

RNG = np.random.default_rng(0)
QUERY, KEY, WIDE = (RNG.normal(size=s) for s in ((2, 3, 4), (2, 5, 4), (2, 5, 6)))


def _check(score, key, pair):
    """`pair(q, k)` is the paper's equation for one query and one key."""
    got = to_numpy(score(QUERY, key))
    expected = [[[pair(q, k) for k in ks] for q in qs] for qs, ks in zip(QUERY, key, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def _weights(score, key=KEY):
    score(QUERY, key)
    for weight in score.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    return [w.astype("float64") for w in score.get_weights()]


def test_equation_8_of_luong_2015_dot():
    _check(ka.DotScore(), KEY, lambda q, k: q @ k)


def test_equation_1_of_vaswani_2017():
    _check(ka.ScaledDotScore(), KEY, lambda q, k: q @ k / np.sqrt(4))


def test_equation_8_of_luong_2015_general():
    score = ka.BilinearScore()
    (w,) = _weights(score, WIDE)
    assert w.shape == (4, 6)
    _check(score, WIDE, lambda q, k: q @ w @ k)


def test_equation_8_of_luong_2015_concat():
    score = ka.ConcatScore(units=7)
    w_q, w_k, v = _weights(score, WIDE)
    w = np.concatenate([w_q, w_k])  # W [q; k]
    _check(score, WIDE, lambda q, k: v[:, 0] @ np.tanh(w.T @ np.concatenate([q, k])))


def test_appendix_a_1_2_of_bahdanau_2015():
    score = ka.AdditiveScore(units=7)
    w_q, w_k, v = _weights(score, WIDE)
    _check(score, WIDE, lambda q, k: v[:, 0] @ np.tanh(w_q.T @ q + w_k.T @ k))


def test_additive_with_a_bias():
    score = ka.AdditiveScore(units=7, use_bias=True)
    w_q, w_k, b, v = _weights(score)
    _check(score, KEY, lambda q, k: v[:, 0] @ np.tanh(w_q.T @ q + w_k.T @ k + b))


def test_luong_concat_is_additive_without_bias():
    concat, additive = ka.ConcatScore(units=7), ka.AdditiveScore(units=7)
    additive(QUERY, WIDE)
    additive.set_weights(_weights(concat, WIDE))
    np.testing.assert_allclose(concat(QUERY, WIDE), additive(QUERY, WIDE), rtol=1e-5)


def test_equations_5_and_6_of_graves_2014():
    score = ka.CosineScore(scale=3.0)
    beta = 3.0
    _check(score, KEY, lambda q, k: beta * q @ k / np.linalg.norm(q) / np.linalg.norm(k))
    score.strength.assign(5.0)
    beta = 5.0
    _check(score, KEY, lambda q, k: beta * q @ k / np.linalg.norm(q) / np.linalg.norm(k))
    assert not ka.CosineScore(use_learned_scale=False).trainable_weights


def test_cosine_of_a_zero_vector_is_zero():
    np.testing.assert_array_equal(ka.CosineScore()(QUERY, 0 * KEY), np.zeros((2, 3, 5)))


def test_equation_5_of_yang_2016():
    score = ka.TanhDotScore()
    w, b = _weights(score, WIDE)
    _check(score, WIDE, lambda q, k: q @ np.tanh(w.T @ k + b))


def test_equation_of_seo_2017_linear_in_q_k_and_their_product():
    score = ka.ConcatScore("q,k,q*k", activation=None)
    w = np.concatenate(_weights(score))[:, 0]
    _check(score, KEY, lambda q, k: w @ np.concatenate([q, k, q * k]))


def test_all_terms_with_a_hidden_layer_and_bias():
    score = ka.ConcatScore("q, k, q*k, q-k, |q-k|", units=3, activation="relu", use_bias=True)
    w_q, b, w_k, w_m, w_d, w_a, v = _weights(score)
    _check(
        score,
        KEY,
        lambda q, k: v[:, 0]
        @ np.maximum(
            w_q.T @ q + b + w_k.T @ k + w_m.T @ (q * k) + w_d.T @ (q - k) + w_a.T @ abs(q - k), 0
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


@pytest.mark.parametrize("name", ["additive", "concat", "tanh_dot"])
def test_rejects_bad_units(name):
    with pytest.raises(ValueError, match="`units` must be a positive integer or `None`.*units=0"):
        scores.SCORES[name](units=0)


def test_rejects_bad_scale():
    with pytest.raises(ValueError, match="`scale` must be.*scale=-1"):
        ka.CosineScore(scale=-1)


@pytest.mark.parametrize("name", ["dot", "scaled_dot", "cosine"])
def test_rejects_keys_of_another_size(name):
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        scores.get(name)(QUERY, WIDE)


@pytest.mark.parametrize("name", scores.SCORES)
def test_config_round_trip(name):
    score = scores.get(name)
    config = keras.saving.serialize_keras_object(score)
    again = scores.get(config)
    assert type(again) is type(score)
    assert again.get_config() == score.get_config()


def test_general_is_bilinear():
    assert type(scores.get("general")) is ka.BilinearScore


@keras.saving.register_keras_serializable(package="tests")
class DistanceScore(ka.Score):
    """A user's own score, with an argument and a weight."""

    def __init__(self, power=2, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def build(self, query_shape, key_shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, query, key):
        difference = keras.ops.expand_dims(query, -2) - keras.ops.expand_dims(key, -3)
        return -self.scale * keras.ops.sum(keras.ops.abs(difference) ** self.power, axis=-1)

    def get_config(self):
        return {**super().get_config(), "power": self.power}


@pytest.mark.parametrize("layer", [ka.ContentAttention, ka.SelfAttention, ka.AttentionPooling])
def test_a_custom_score_works_in_every_layer_and_is_saved(layer, tmp_path):
    inputs = keras.Input((None, 4))
    arguments = (inputs, inputs) if layer is ka.ContentAttention else (inputs,)
    attention = layer(score=DistanceScore(power=1))
    model = keras.Model(inputs, attention(*arguments))
    attention.score.scale.assign(0.7)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(KEY), model(KEY))
    assert loaded.layers[-1].score.power == 1
