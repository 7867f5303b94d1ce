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


def _with_residual(weights):
    return 0.5 * weights + 0.5 * np.eye(weights.shape[-1])


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4), (2, 5, 3, 4)])  # the last with heads
def test_pooling_weights_the_rows(shape):
    maps = {"first": _weights(2, 4, 4), "second": _weights(2, 3, 4, 4, seed=1)}
    pooling = _weights(*shape, seed=2)
    rows = pooling.mean(axis=1) if len(shape) == 4 else pooling
    layers = _with_residual(maps["first"]), _with_residual(maps["second"].mean(axis=1))
    expected = np.stack([rows[b] @ layers[1][b] @ layers[0][b] for b in range(2)])
    rollout = ka.attention_rollout({**maps, "pool": pooling})
    np.testing.assert_allclose(rollout, expected, rtol=1e-10)
    np.testing.assert_allclose(rollout.sum(-1), 1)


def test_square_weights_on_top_are_self_attention():
    maps = [_weights(2, 4, 4, seed=seed) for seed in range(2)]
    expected = _with_residual(maps[1]) @ _with_residual(maps[0])
    np.testing.assert_allclose(ka.attention_rollout(maps), expected, rtol=1e-10)


@pytest.mark.parametrize("order", ["scsc", "cs", "sscp"])  # self, cross, pooling
def test_decoder_steps_hold_own_and_memory_steps(order):
    """As one chain over steps of the decoder and of the memory; the latter stay as they are."""
    batch, steps, memory_steps, inputs = 2, 3, 4, 5
    memory = _weights(batch, memory_steps, inputs, seed=7)
    shapes = {"s": (2, 2, 3, 3), "c": (2, 2, 3, 4), "p": (2, 2, 3)}
    maps = [_weights(*shapes[kind], seed=seed) for seed, kind in enumerate(order)]
    chain = np.zeros((batch, steps + memory_steps, steps + inputs))
    chain[:, :steps, :steps], chain[:, steps:, steps:] = np.eye(steps), memory
    for kind, weights in zip(order, maps, strict=True):
        layer = np.eye(steps + memory_steps)[None].repeat(batch, 0)
        if kind == "p":
            layer = np.concatenate([weights, np.zeros((batch, 2, memory_steps))], axis=-1)
        else:
            columns = slice(steps) if kind == "s" else slice(steps, None)
            layer[:, :steps, :steps] /= 2
            layer[:, :steps, columns] += weights.mean(axis=1) / 2
        chain = layer @ chain
    cross = [i for i, kind in enumerate(order) if kind == "c"]
    own, other = ka.attention_rollout(maps, memory, cross)
    rows = 2 if "p" in order else steps
    np.testing.assert_allclose(own, chain[:, :rows, :steps], rtol=1e-10)
    np.testing.assert_allclose(other, chain[:, :rows, steps:], rtol=1e-10)
    np.testing.assert_allclose(own.sum(-1) + other.sum(-1), 1)


def test_a_step_that_attends_to_no_memory_keeps_its_residual():
    cross = _weights(1, 2, 3)
    cross[0, 1] = 0
    memory = np.eye(3)[None]
    own, other = ka.attention_rollout([cross], memory, cross=[0])
    np.testing.assert_allclose(own[0], [[0.5, 0], [0, 1]])
    np.testing.assert_allclose(other[0], [cross[0, 0] / 2, [0, 0, 0]])


def test_a_decoder_over_an_encoder():
    """Padding on both sides changes nothing, and what the decoder reads comes from the source."""
    source, target = (keras.Input((None,), dtype="int32") for _ in range(2))
    memory = keras.layers.Embedding(9, 8, mask_zero=True)(source)
    for i in range(2):
        memory = ka.TransformerEncoderBlock(8, num_heads=2, name=f"encoder_{i}")(memory)
    x = keras.layers.Embedding(9, 8, mask_zero=True)(target)
    for i in range(2):
        x = ka.TransformerDecoderBlock(8, num_heads=2, name=f"decoder_{i}")(x, memory)
    model = keras.Model([source, target], x)

    def rollout(source, target):
        maps = ka.attention_maps(model, [np.array([source]), np.array([target])])
        encoder = {name: w for name, w in maps.items() if name.startswith("encoder")}
        decoder = {name: w for name, w in maps.items() if name.startswith("decoder")}
        cross = [name for name in decoder if name.endswith("/memory")]
        assert list(decoder) == [
            f"decoder_{i}/{part}" for i in range(2) for part in ("inputs", "memory")
        ]
        return ka.attention_rollout(decoder, ka.attention_rollout(encoder), cross)

    own, other = rollout([1, 2, 3, 4], [5, 6, 7])
    assert own.shape == (1, 3, 3) and other.shape == (1, 3, 4)
    np.testing.assert_allclose(own.sum(-1) + other.sum(-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(own, np.tril(own))  # the self-attention is causal
    np.testing.assert_allclose(own[0, 0, 0], 0.25, rtol=1e-5)  # halved by each cross-attention
    padded_own, padded_other = rollout([1, 2, 3, 4, 0], [5, 6, 7, 0, 0])
    np.testing.assert_allclose(padded_own[:, :3, :3], own, rtol=1e-4)
    np.testing.assert_allclose(padded_other[:, :3, :4], other, rtol=1e-4)
    np.testing.assert_array_equal(padded_own[0, :3, 3:], 0)
    np.testing.assert_array_equal(padded_other[0, :3, 4:], 0)
    np.testing.assert_array_equal(padded_own[0, 3:], np.eye(5)[3:])
    np.testing.assert_array_equal(padded_other[0, 3:], 0)


def test_pooling_over_the_blocks_of_a_model():
    inputs = keras.Input((None, 8))
    x = ka.TransformerEncoderBlock(8, num_heads=2)(inputs)
    model = keras.Model(inputs, ka.AttentionPooling(num_queries=3, name="pool")(x))
    maps = ka.attention_maps(model, np.random.default_rng(0).normal(size=(2, 4, 8)))
    looks = ka.attention_rollout(maps)
    pooling = maps.pop("pool")
    np.testing.assert_allclose(looks, pooling @ ka.attention_rollout(maps), rtol=1e-6)
    assert looks.shape == (2, 3, 4)


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 3)])
def test_rejects_pooling_below_self_attention(shape):
    maps = {"pool": _weights(*shape), "block": _weights(2, 3, 3)}
    with pytest.raises(ValueError, match=r"'pool' among {'pool': .*, 'block': \(2, 3, 3\)}"):
        ka.attention_rollout(maps)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2, 2, 4), (3,)])
def test_rejects_pooling_over_other_steps(shape):
    with pytest.raises(
        ValueError, match="last perhaps a pooling of these steps.*Received: 1 among"
    ):
        ka.attention_rollout([_weights(2, 3, 3), _weights(*shape)])


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (3,), ()])
def test_rejects_one_map_that_is_not_self_attention(shape):
    with pytest.raises(ValueError, match="Received: 0 among"):
        ka.attention_rollout([np.ones(shape)])


def test_rejects_cross_attention_without_a_memory_and_the_reverse():
    maps = [_weights(2, 3, 3), _weights(2, 3, 4)]
    with pytest.raises(ValueError, match=r"given together.*memory=None, cross=\[1\]"):
        ka.attention_rollout(maps, cross=[1])
    with pytest.raises(ValueError, match=r"given together.*memory=an array, cross=\(\)"):
        ka.attention_rollout(maps, _weights(2, 4, 4))


def test_rejects_unknown_layers():
    with pytest.raises(ValueError, match=r"which are \['a'\]. Received: cross=\['b'\]"):
        ka.attention_rollout({"a": _weights(2, 3, 4)}, _weights(2, 4, 4), ["b"])


@pytest.mark.parametrize("shape", [(2, 5, 4), (1, 4, 4)])
def test_rejects_cross_attention_over_other_steps(shape):
    maps = [_weights(2, 3, 3), _weights(2, 3, 4)]
    with pytest.raises(ValueError, match=r"over the steps of `memory`.*1 among .*memory.shape=\("):
        ka.attention_rollout(maps, _weights(*shape), [1])


def test_rejects_a_memory_of_another_rank():
    with pytest.raises(ValueError, match=r"\(B, S, S_in\). Received: memory.shape=\(2, 4\)"):
        ka.attention_rollout([_weights(2, 3, 4)], _weights(2, 4), [0])


def test_rejects_layers_of_different_lengths():
    with pytest.raises(ValueError, match=r"1 among {0: \(2, 3, 3\), 1: \(2, 4, 4\)}"):
        ka.attention_rollout([_weights(2, 3, 3), _weights(2, 4, 4)])


def test_rejects_no_maps():
    with pytest.raises(ValueError, match="at least one layer"):
        ka.attention_rollout([])
