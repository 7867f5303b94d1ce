"""CoverageAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, to_numpy
from tests.contract import Case, LayerContract


class TestContract(LayerContract):
    cases = {
        "with a key": Case(
            lambda **kw: ka.CoverageAttention(units=6, **kw),
            tensors={"query": "BTD", "value": "BSE", "key": "BSF"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value", "key_mask": "key"},
        ),
    }


@pytest.fixture
def made():
    """A layer, its inputs, and masks that leave 3 + 2 queries."""
    rng = np.random.default_rng(0)
    s, h = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    masks = {"query_mask": np.ones((2, 3), "bool"), "value_mask": np.ones((2, 5), "bool")}
    masks["query_mask"][1, 1] = masks["value_mask"][0, 4] = False
    layer = ka.CoverageAttention(units=7, loss_weight=0.5)
    layer(s, h)
    layer.coverage_dense.kernel.assign(rng.normal(size=(1, 7)))
    return layer, s, h, masks


def test_equations_10_to_13_of_see_2017(made):
    layer, s, h, masks = made
    context, a = to_numpy(layer(s, h, **masks, return_attention_scores=True))
    energy = layer.energy
    w_s, w_h = to_numpy(energy.query_dense.kernel.value), to_numpy(energy.key_dense.kernel.value)
    b, v = to_numpy(energy.key_dense.bias.value), to_numpy(energy.score_dense.kernel.value)[:, 0]
    w_c = to_numpy(layer.coverage_dense.kernel.value)[0]
    losses = []
    for n in range(2):
        steps = np.flatnonzero(masks["value_mask"][n])
        coverage = np.zeros(5)
        for t in np.flatnonzero(masks["query_mask"][n]):
            e = np.array(
                [v @ np.tanh(h[n, i] @ w_h + s[n, t] @ w_s + w_c * coverage[i] + b) for i in steps]
            )  # eq. 11
            expected = np.zeros(5)
            expected[steps] = np.exp(e) / np.exp(e).sum()
            np.testing.assert_allclose(a[n, t], expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(context[n, t], expected @ h[n], rtol=1e-4, atol=1e-5)
            losses.append(np.minimum(expected, coverage).sum())  # eq. 12
            coverage += expected  # eq. 10
    assert len(losses) == 5
    np.testing.assert_allclose(to_numpy(sum(layer.losses)), 0.5 * np.mean(losses), rtol=1e-4)


def test_padding_has_no_loss(made):
    layer, s, h, masks = made
    layer(s, h, **masks)
    expected = to_numpy(sum(layer.losses))
    s, h = s.copy(), h.copy()
    s[~masks["query_mask"]] = h[~masks["value_mask"]] = np.nan
    layer(s, h, **masks)
    np.testing.assert_allclose(to_numpy(sum(layer.losses)), expected, rtol=1e-6)
    layer(s, h, query_mask=np.zeros((2, 3), "bool"), value_mask=masks["value_mask"])
    assert to_numpy(sum(layer.losses)) == 0


def test_no_weight_no_loss():
    layer = ka.CoverageAttention(loss_weight=0)
    layer(np.ones((2, 3, 4)), np.ones((2, 5, 4)))
    assert layer.losses == []


def test_coverage_lowers_repeated_attention():
    """What all contexts have to give together is the same, read at once or piece by piece."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=(32, 5, 3)).astype("float32")
    value[..., 0] = np.linspace(-2, 2, 5)  # an order to go by
    query, target = np.ones((32, 5, 2), "float32"), value.mean(1)

    def repeated(loss_weight):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5, 2)), keras.Input((5, 3))
        context, weights = ka.CoverageAttention(16, loss_weight=loss_weight)(
            *inputs, return_attention_scores=True
        )
        together = keras.ops.mean(context, axis=1)
        model, maps = keras.Model(inputs, together), keras.Model(inputs, weights)
        model.compile(keras.optimizers.Adam(0.05), "mse")
        # One epoch of the same batch over and over: epochs cost more than batches here.
        often = [np.concatenate([x] * 100) for x in (query, value, target)]
        model.fit(often[:2], often[2], batch_size=32, shuffle=False, verbose=0)
        a = to_numpy(maps((query, value)))
        before = np.cumsum(a, axis=1) - a
        return np.minimum(a, before).sum(-1).mean()

    assert repeated(1.0) < 0.6 * repeated(0.0)


def test_a_decoder_adds_the_loss():
    rng = np.random.default_rng(0)
    inputs, memory = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    decoder = ka.AttentionDecoder(keras.layers.GRUCell(7), ka.CoverageAttention(8))
    _, a = to_numpy(decoder(inputs, memory, return_attention_scores=True))
    before = np.cumsum(a, axis=1) - a
    expected = np.minimum(a, before).sum(-1).mean()
    np.testing.assert_allclose(to_numpy(sum(decoder.losses)), expected, rtol=1e-4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere Keras has float64 at most in part")
@pytest.mark.parametrize("jit_compile", [True, False])
def test_trains_in_float64(jit_compile):
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        inputs, memory = keras.Input((None, 4)), keras.Input((None, 6))
        layer = ka.AttentionDecoder(keras.layers.GRUCell(7), ka.CoverageAttention(8))
        model = keras.Model([inputs, memory], layer(inputs, memory))
        model.compile("adam", "mse", jit_compile=jit_compile)
        rng = np.random.default_rng(0)
        x = [rng.normal(size=(4, 3, 4)), rng.normal(size=(4, 5, 6))]
        history = model.fit(x, np.ones((4, 3, 7)), epochs=3, verbose=0).history["loss"]
        assert np.isfinite(history).all() and history[-1] < history[0]
        memory = layer.attention.prepare(keras.ops.convert_to_tensor(x[1]))
        state = layer.attention.initial_state(memory)
        assert {keras.backend.standardize_dtype(v.dtype) for v in state.values()} == {"float64"}
    finally:
        keras.config.set_floatx(before)


def test_rejects_bad_loss_weight():
    with pytest.raises(ValueError, match="`loss_weight` must be a number of at.*loss_weight=-1"):
        ka.CoverageAttention(loss_weight=-1)
