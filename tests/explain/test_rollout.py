"""attention_rollout."""

import keras
import numpy as np
import pytest

import keras_attention as ka


def _weights(*shape, seed=0):
    weights = np.random.default_rng(seed).random(shape)
    return weights / weights.sum(-1, keepdims=True)


def test_equation_1_of_abnar_2020():
    layers = [_weights(2, 3, 4, 4, seed=seed) for seed in range(3)]  # heads
    rollout = None
    for raw in layers:
        a = np.zeros((2, 4, 4))
        for b, i, j in np.ndindex(2, 4, 4):
            mean = sum(raw[b, head, i, j] for head in range(3)) / 3
            a[b, i, j] = 0.5 * mean + 0.5 * (i == j)
        rollout = a if rollout is None else np.stack([a[b] @ rollout[b] for b in range(2)])
    np.testing.assert_allclose(ka.attention_rollout(layers), rollout, rtol=1e-10)
    np.testing.assert_allclose(rollout.sum(-1), 1)


def test_a_step_that_moved_twice_is_found_at_its_source():
    """The last layer looks at step 1, which holds what the first layer moved there from step 2."""
    first, second = np.eye(4)[None].repeat(2, 0)
    first[1] = np.eye(4)[2]
    second[0] = np.eye(4)[1]
    rollout = ka.attention_rollout({"first": first[None], "second": second[None]})[0]
    np.testing.assert_allclose(rollout[0], [0.5, 0.25, 0.25, 0])  # the weights alone say step 1


def test_padding_keeps_to_itself_and_reaches_nothing():
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    for _ in range(2):
        x = keras.layers.Add()([x, ka.MultiHeadAttention(2, 3)(x, x)])
    model = keras.Model(inputs, x)
    short = ka.attention_rollout(ka.attention_maps(model, np.array([[1, 2, 3]])))
    padded = ka.attention_rollout(ka.attention_maps(model, np.array([[1, 2, 3, 0, 0]])))
    np.testing.assert_allclose(padded[:, :3, :3], short, rtol=1e-5)
    np.testing.assert_array_equal(padded[:, :3, 3:], 0)
    np.testing.assert_array_equal(padded[0, 3:], np.eye(5)[3:])


def test_rejects_weights_that_are_not_self_attention():
    maps = {"block": _weights(2, 3, 3), "pool": _weights(2, 3)}
    with pytest.raises(ValueError, match=r"'pool' among {'block': \(2, 3, 3\), 'pool': \(2, 3\)}"):
        ka.attention_rollout(maps)


def test_rejects_layers_of_different_lengths():
    with pytest.raises(ValueError, match=r"1 among {0: \(2, 3, 3\), 1: \(2, 4, 4\)}"):
        ka.attention_rollout([_weights(2, 3, 3), _weights(2, 4, 4)])


def test_rejects_no_maps():
    with pytest.raises(ValueError, match="at least one layer"):
        ka.attention_rollout([])
