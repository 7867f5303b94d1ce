"""No attention: the mean of all allowed steps."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from recipes.parts.equal_weights import EqualScore


@pytest.mark.parametrize("kwargs", [{"normalizer": "uniform"}, {"score": EqualScore()}])
def test_all_allowed_steps_weigh_the_same(kwargs):
    rng = np.random.default_rng(0)
    query, value = (rng.normal(size=(2, steps, 4)).astype("float32") for steps in (3, 6))
    mask = value[..., 0] > -0.5
    layer = ka.ContentAttention(**{"score": "dot", **kwargs})
    _, weights = layer(query, value, value_mask=mask, return_attention_scores=True)
    allowed = np.repeat(mask[:, None], 3, axis=1)
    np.testing.assert_allclose(weights, allowed / allowed.sum(-1, keepdims=True), rtol=1e-6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.normalizer is layer.normalizer and type(copy.score) is type(layer.score)
