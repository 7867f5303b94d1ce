"""The penalty of the soft-attention paper, and attention to one drawn place."""

import keras
import numpy as np

from recipes.parts.caption_layers import DoublyStochasticPenalty, HardAttention

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(2, 3, 4)).astype("float32")
VALUE = RNG.normal(size=(2, 5, 6)).astype("float32")


def test_equation_14_of_xu():
    weights = RNG.uniform(size=(2, 3, 5)).astype("float32")
    counted = np.array([[True, True, True], [True, False, False]])
    weights *= counted[..., None]
    layer = DoublyStochasticPenalty(0.5)
    logits = RNG.normal(size=(2, 3, 7)).astype("float32")
    np.testing.assert_array_equal(layer(logits, weights, counted), logits)
    words = counted.sum(1)
    expected = 0.5 * np.mean(((1 - weights.sum(1)) ** 2).sum(1) / words)
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-6)


def test_an_empty_caption_costs_nothing():
    layer = DoublyStochasticPenalty(0.5)
    layer(np.zeros((2, 3, 7)), np.zeros((2, 3, 5)), np.zeros((2, 3), bool))
    assert float(layer.losses[0]) == 0


def test_hard_attention_takes_the_place_of_the_largest_weight():
    layer = HardAttention(8, seed=1)
    context, weights = layer(QUERY, VALUE, return_attention_scores=True)
    choice, probabilities = np.split(np.array(weights), 2, axis=-1)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(choice.argmax(-1), probabilities.argmax(-1))
    np.testing.assert_array_equal(choice.sum(-1), 1)
    np.testing.assert_allclose(context, choice @ VALUE, rtol=1e-5)


def test_in_training_half_of_the_images_get_the_average():
    layer = HardAttention(8, seed=1)
    query, value = np.repeat(QUERY[:1], 400, axis=0), np.repeat(VALUE[:1], 400, axis=0)
    context, weights = layer(query, value, return_attention_scores=True, training=True)
    choice, probabilities = np.split(np.array(weights), 2, axis=-1)
    drawn = choice.any((1, 2))
    assert 0.4 < drawn.mean() < 0.6
    np.testing.assert_array_equal(choice[drawn].sum(-1), 1)
    np.testing.assert_allclose(np.array(context)[drawn], (choice @ value)[drawn], rtol=1e-5)
    average = (probabilities @ value)[~drawn]
    np.testing.assert_allclose(np.array(context)[~drawn], average, rtol=1e-4, atol=1e-5)
    # Drawn as often as the weights say.
    np.testing.assert_allclose(choice[drawn].mean(0), probabilities[0], atol=0.12)


def test_padding_is_seen_by_nobody():
    layer = HardAttention(8, seed=1)
    mask = np.array([[True, True, False], [True, True, True]])
    _, weights = layer(QUERY, VALUE, query_mask=mask, return_attention_scores=True)
    assert not np.array(weights)[0, 2].any()


def test_saved_and_loaded():
    for layer in (DoublyStochasticPenalty(0.5), HardAttention(8, seed=1)):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert copy.get_config() == layer.get_config()
