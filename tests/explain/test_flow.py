"""attention_flow."""

import sys
from collections import deque

import keras
import numpy as np
import pytest

import keras_attention as ka

pytest.importorskip("scipy")


def _weights(*shape, seed=0, spread=2.0):
    weights = np.exp(spread * np.random.default_rng(seed).normal(size=shape))
    return weights / weights.sum(-1, keepdims=True)


def _edmonds_karp(capacities, t, s):
    """The maximum flow in floats, by shortest augmenting paths; layers from the first up."""
    left = {}  # from an edge, forward or back, to the capacity that is left
    neighbours = {}
    for level, layer in enumerate(capacities, 1):
        for upper, lower in np.ndindex(layer.shape):
            above, below = (level, upper), (level - 1, lower)
            left[above, below], left[below, above] = layer[upper, lower], 0.0
            neighbours.setdefault(above, []).append(below)
            neighbours.setdefault(below, []).append(above)
    source, sink, flow = (len(capacities), t), (0, s), 0.0
    while True:
        before, queue = {source: None}, deque([source])
        while queue and sink not in before:
            node = queue.popleft()
            for other in neighbours[node]:
                if other not in before and left[node, other] > 1e-12:
                    before[other] = node
                    queue.append(other)
        if sink not in before:
            return flow
        path, node = [], sink
        while before[node] is not None:
            path.append((before[node], node))
            node = before[node]
        amount = min(left[edge] for edge in path)
        for above, below in path:
            left[above, below] -= amount
            left[below, above] += amount
        flow += amount


def _expected(capacities):
    """Maximum flows `(B, R, T)`, of layers `(B, R, T)`."""
    flows = np.zeros((*capacities[-1].shape[:2], capacities[0].shape[-1]))
    for b, t, s in np.ndindex(flows.shape):
        flows[b, t, s] = _edmonds_karp([layer[b] for layer in capacities], t, s)
    return flows


def _with_residual(weights):
    return 0.5 * weights + 0.5 * np.eye(weights.shape[-1])


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_maximum_flow_of_each_pair(layers):
    maps = [_weights(2, 3, 4, 4, seed=seed) for seed in range(layers)]  # heads
    expected = _expected([_with_residual(weights.mean(axis=1)) for weights in maps])
    np.testing.assert_allclose(ka.attention_flow(maps), expected, atol=1e-7)


@pytest.mark.parametrize("more", [0, 1])
def test_a_flow_is_what_the_narrowest_cut_lets_through(more):
    """As in `test_rollout`: the last layer looks at step 1, which looked at step 2."""
    first, second = np.eye(4)[None].repeat(2, 0)
    first[1] = np.eye(4)[2]
    second[0] = np.eye(4)[1]
    maps = [first[None], second[None], *[np.eye(4)[None]] * more]
    flow = ka.attention_flow(maps)[0]
    np.testing.assert_allclose(flow[0], [0.5, 0.5, 0.5, 0], atol=1e-8)  # rollout: .5, .25, .25, 0
    np.testing.assert_allclose(flow[3], [0, 0, 0, 1], atol=1e-8)


def test_a_flow_is_at_least_the_rollout_and_at_most_one():
    maps = [_weights(2, 6, 6, seed=seed) for seed in range(4)]
    flow, rollout = ka.attention_flow(maps), ka.attention_rollout(maps)
    assert (flow >= rollout - 1e-8).all() and (flow > rollout + 0.1).any()
    assert (flow <= 1).all()


def test_nothing_flows_from_the_future():
    maps = [np.tril(_weights(1, 5, 5, seed=seed)) for seed in range(3)]
    maps = [weights / weights.sum(-1, keepdims=True) for weights in maps]
    flow = ka.attention_flow(maps)
    np.testing.assert_array_equal(flow, np.tril(flow))
    np.testing.assert_allclose(flow, _expected([_with_residual(w) for w in maps]), atol=1e-7)


def test_padding_keeps_to_itself_and_reaches_nothing():
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    for _ in range(3):
        x = keras.layers.Add()([x, ka.MultiHeadAttention(2, 3)(x, x)])
    model = keras.Model(inputs, x)
    short = ka.attention_flow(ka.attention_maps(model, np.array([[1, 2, 3]])))
    padded = ka.attention_flow(ka.attention_maps(model, np.array([[1, 2, 3, 0, 0]])))
    np.testing.assert_allclose(padded[:, :3, :3], short, rtol=1e-5)
    np.testing.assert_array_equal(padded[:, :3, 3:], 0)
    np.testing.assert_array_equal(padded[0, 3:], np.eye(5)[3:])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("total", [1.0, 3.0])  # weights of some pooling layers don't sum to one
def test_pooling_is_the_last_layer_without_a_residual(layers, total):
    maps = [_weights(2, 4, 4, seed=seed) for seed in range(layers)]
    pooling = total * _weights(2, 3, 4, seed=9)
    expected = _expected([*map(_with_residual, maps), pooling])
    np.testing.assert_allclose(ka.attention_flow([*maps, pooling]), expected, atol=1e-7)
    one = ka.attention_flow([*maps, pooling[:, 1]])
    np.testing.assert_allclose(one, expected[:, 1], atol=1e-7)


def test_pooling_lets_more_than_one_through():
    """Each weight of the pooling is 1, and every step has half of step 0."""
    first = np.eye(4)[[0, 0, 0, 0]]
    flow = ka.attention_flow([first[None], np.eye(4)[None], np.ones((1, 4))])
    np.testing.assert_allclose(flow, [[2.5, 0.5, 0.5, 0.5]], atol=1e-7)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_some_steps_of_the_last_layer(layers):
    maps = [_weights(2, 4, 4, seed=seed) for seed in range(layers)]
    flow = ka.attention_flow(maps)
    np.testing.assert_array_equal(ka.attention_flow(maps, steps=[2, -4]), flow[:, [2, 0]])
    assert ka.attention_flow(maps, steps=[]).shape == (2, 0, 4)
    assert len(ka.attention_flow([weights[:0] for weights in maps])) == 0


def test_through_the_blocks_of_a_model():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    for _ in range(2):
        x = ka.TransformerEncoderBlock(8, num_heads=2)(x)
    model = keras.Model(ids, ka.AttentionPooling(name="pool")(x))
    maps = ka.attention_maps(model, np.array([[1, 2, 3, 0], [4, 5, 0, 0]]))
    flow = ka.attention_flow(maps)
    assert flow.shape == (2, 4)
    real = [[_with_residual(w[1].mean(axis=0))[:2, :2] for w in maps.values() if w.ndim == 4]]
    expected = [_edmonds_karp([*real[0], maps["pool"][1:, :2]], 0, s) for s in range(2)]
    np.testing.assert_allclose(flow[1], [*expected, 0, 0], atol=1e-6)


@pytest.mark.parametrize("steps", [[4], [-5], [0.5]])
def test_rejects_steps_that_are_not_there(steps):
    with pytest.raises(
        ValueError, match=r"`steps` must be integers from -4 to 3.*Received: steps="
    ):
        ka.attention_flow([_weights(2, 4, 4)], steps)


def test_rejects_steps_where_the_result_has_none():
    with pytest.raises(ValueError, match=r"`steps` must be `None`.*Received: steps=\[0\]"):
        ka.attention_flow([_weights(2, 4, 4), _weights(2, 4)], [0])


@pytest.mark.parametrize("number", [-0.1, np.nan, np.inf])
def test_rejects_what_is_no_capacity(number):
    second = _weights(2, 4, 4)
    second[1, 2, 3] = number
    with pytest.raises(
        ValueError, match="finite numbers that are not negative.*others in 'second'"
    ):
        ka.attention_flow({"first": _weights(2, 4, 4), "second": second})


def test_rejects_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"1 among {0: \(2, 3, 3\), 1: \(2, 4, 4\)}"):
        ka.attention_flow([_weights(2, 3, 3), _weights(2, 4, 4)])


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)  # its import fails
    with pytest.raises(ImportError, match=r'pip install "keras-attention-layers\[explain\]"'):
        ka.attention_flow([_weights(1, 3, 3)] * 3)
    assert ka.attention_flow([_weights(1, 3, 3)] * 2).shape == (1, 3, 3)
