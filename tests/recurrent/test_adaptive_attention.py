"""AdaptiveAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "with sentinels": Case(
            lambda **kw: ka.AdaptiveAttention(units=7, **kw),
            tensors={"query": "BTD", "value": "BSE", "sentinel": "BTE"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value"},
            sums_to_one=False,
            fallback="sentinel",
            is_slow=True,
        ),
    }


def _softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def test_equations_6_to_12_of_lu_2017():
    rng = np.random.default_rng(0)
    h, v, s = (rng.normal(size=size) for size in ((2, 3, 4), (2, 5, 6), (2, 3, 6)))
    layer = ka.AdaptiveAttention(7)
    context, weights = to_numpy(layer(h, v, s, return_attention_scores=True))
    energy = layer.energy
    w_g, w_v = to_numpy(energy.query_dense.kernel.value), to_numpy(energy.key_dense.kernel.value)
    w_h = to_numpy(energy.score_dense.kernel.value)[:, 0]
    w_s = to_numpy(layer.sentinel_dense.kernel.value)
    for n in range(2):
        for t in range(3):
            z = np.array([w_h @ np.tanh(v[n, i] @ w_v + h[n, t] @ w_g) for i in range(5)])  # 6
            c = _softmax(z) @ v[n]  # eq. 7 and 8
            z_s = w_h @ np.tanh(s[n, t] @ w_s + h[n, t] @ w_g)
            alpha_hat = _softmax(np.append(z, z_s))  # eq. 12
            beta = alpha_hat[-1]
            c_hat = beta * s[n, t] + (1 - beta) * c  # eq. 11
            np.testing.assert_allclose(context[n, t], c_hat, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(weights[n, t], alpha_hat[:-1], rtol=1e-4)
            np.testing.assert_allclose(1 - weights[n, t].sum(), beta, rtol=1e-4)


def test_it_learns_when_to_look_away():
    """Half of the queries want the mean of the values, the others what the sentinel says."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    value = rng.normal(size=(64, 5, 3)).astype("float32")
    sentinel = rng.normal(size=(64, 4, 3)).astype("float32")
    looks = rng.random((64, 4, 1)) > 0.5
    query = np.concatenate([looks, ~looks], -1).astype("float32")
    target = np.where(looks, value.mean(1, keepdims=True), sentinel)
    inputs = keras.Input((4, 2)), keras.Input((5, 3)), keras.Input((4, 3))
    context, weights = ka.AdaptiveAttention(16)(*inputs, return_attention_scores=True)
    model, maps = keras.Model(inputs, context), keras.Model(inputs, weights)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit((query, value, sentinel), target, epochs=60, verbose=0)
    beta = 1 - to_numpy(maps((query, value, sentinel))).sum(-1)
    assert beta[looks[..., 0]].mean() < 0.3
    assert beta[~looks[..., 0]].mean() > 0.7


@pytest.mark.parametrize("cell", [keras.layers.LSTMCell, keras.layers.GRUCell])
def test_a_decoder_makes_the_sentinel_from_its_cell(cell, tmp_path):
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 2, 4)).astype("float32"), rng.normal(size=(2, 5, 6))
    memory = memory.astype("float32")
    inputs = keras.Input((None, 4)), keras.Input((None, 6))
    attention = ka.AdaptiveAttention(7)
    decoder = ka.AttentionDecoder(cell(6), attention, input_feeding=False)
    model = keras.Model(inputs, decoder(*inputs, return_attention_scores=True))
    weights = to_numpy(model((x, memory)))[1]

    state = decoder.cell.get_initial_state(batch_size=2)
    for t in range(2):
        before = list(state) if isinstance(state, (list, tuple)) else [state]
        output, state = decoder.cell(x[:, t], before)
        state = list(state) if isinstance(state, (list, tuple)) else [state]
        sentinel = attention.gate(x[:, t], before[0], state[-1])
        expected = attention(
            keras.ops.expand_dims(output, 1),
            memory,
            keras.ops.expand_dims(sentinel, 1),
            return_attention_scores=True,
        )[1]
        np.testing.assert_allclose(weights[:, t], to_numpy(expected)[:, 0], atol=1e-5)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded((x, memory)))[1], weights)


def test_states_of_a_cell_stand_for_sentinels():
    rng = np.random.default_rng(0)
    query, value, x = (rng.normal(size=(2, n, 4)).astype("float32") for n in (3, 5, 3))
    before, after = (rng.normal(size=(2, 2, 3, 4)).astype("float32") for _ in range(2))
    mask = np.array([[True, True, False], [True, False, True]])
    layer = ka.AdaptiveAttention(7)
    states = {"inputs": x, "previous": list(before), "current": list(after)}
    expected = None
    for rubbish in (0.0, np.nan):
        for tensor in (x, *before, *after):
            tensor[~mask] = rubbish
        got = to_numpy(layer(query, value, cell_state=states, query_mask=mask))
        expected = got if expected is None else expected
        np.testing.assert_array_equal(got, expected)
    for tensor in (x, *before, *after):
        tensor[~mask] = 0.0
    sentinel = layer.gate(x, before[0], after[1])
    got = to_numpy(layer(query, value, sentinel, query_mask=mask))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_rejects_calls_without_a_sentinel():
    with pytest.raises(ValueError, match=r"must be a sentinel.*Received: sentinel_shape=None, va"):
        ka.AdaptiveAttention()(np.ones((2, 3, 4)), np.ones((2, 5, 6)))


def test_rejects_a_sentinel_of_another_size():
    with pytest.raises(ValueError, match=r"sentinel_shape=\(2, 3, 5\), value_shape=\(2, 5, 6\)"):
        ka.AdaptiveAttention()(np.ones((2, 3, 4)), np.ones((2, 5, 6)), np.ones((2, 3, 5)))


def test_rejects_a_cell_of_another_size_than_the_memory():
    decoder = ka.AttentionDecoder(keras.layers.LSTMCell(5), ka.AdaptiveAttention())
    with pytest.raises(ValueError, match=r"cell's last state.*sentinel_shape=\(2, 5\), value_shap"):
        decoder(np.ones((2, 3, 4)), np.ones((2, 5, 6)))
