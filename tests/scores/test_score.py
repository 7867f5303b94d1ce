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
