"""Score: names, config, and scores of a user's own."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import scores
from tests.scores.oracle import KEY


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

    def compare(self, query, key, start):
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


def test_rejects_a_score_that_defines_call():
    with pytest.raises(TypeError, match=r"must define `compare\(query, key, start\)`.*`Old`"):

        class Old(ka.Score):
            def call(self, query, key):
                return query @ key


@pytest.mark.parametrize("make", [ka.ScaledDotScore, ka.AdditiveScore, ka.ALiBiScore])
def test_integers_are_scored_as_numbers(make):
    score, ids = make(), np.arange(24).reshape(2, 3, 4) % 5
    expected = score(ids.astype("float32"), ids.astype("float32"))
    np.testing.assert_allclose(score(ids, ids), expected, rtol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class FartherThanTwo(ka.Score):
    """Reads where queries and keys stand."""

    uses_positions = True

    def compare(self, query, key, start):
        steps = start + keras.ops.arange(keras.ops.shape(query)[-2], dtype="int32")
        keys = keras.ops.arange(keras.ops.shape(key)[-2], dtype="int32")
        distance = keras.ops.abs(keras.ops.expand_dims(steps, -1) - keys)
        scores = keras.ops.cast(distance > 2, query.dtype)
        return scores + 0 * keras.ops.sum(query, -1, keepdims=True)


def test_a_score_always_gets_the_position_of_the_first_query():
    x = np.random.default_rng(0).normal(size=(2, 40, 4)).astype("float32")
    for score in (FartherThanTwo(), ka.DotScore() + (ka.LocationScore(40) + FartherThanTwo())):
        assert score.uses_positions
        layer = ka.ContentAttention(score)
        whole = layer(x, x)
        with ka.query_blocks(threshold=0, block=1):
            np.testing.assert_allclose(layer(x, x), whole, rtol=1e-5, atol=1e-6)
        last = layer(x[:, -3:], x)
        np.testing.assert_allclose(last, whole[:, -3:], rtol=1e-5, atol=1e-6)
