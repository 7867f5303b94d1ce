"""LocationSensitiveAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


def _case(key="", **kwargs):
    tensors = {"query": "BTD", "value": "BSE", "key": "BSF"}
    masks = {"query_mask": "query", "value_mask": "value", "key_mask": "key"}
    if not key:
        del tensors["key"], masks["key_mask"]
    arguments = {"units": 6, "filters": 3, "kernel_size": 3, **kwargs}
    return Case(
        lambda **kw: ka.LocationSensitiveAttention(**{**arguments, **kw}),
        tensors=tensors,
        weights="BTS",
        masks=masks,
        is_slow=True,
    )


class TestContract(LayerContract):
    cases = {
        "previous weights": _case("key"),
        "cumulative weights, smooth": _case(use_cumulative_weights=True, normalizer="smooth"),
    }


@pytest.mark.parametrize("use_cumulative_weights", [False, True])
def test_equations_8_and_9_of_chorowski_2015(use_cumulative_weights):
    rng = np.random.default_rng(0)
    s, h = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    layer = ka.LocationSensitiveAttention(
        7, filters=2, kernel_size=3, use_cumulative_weights=use_cumulative_weights
    )
    g, alpha = to_numpy(layer(s, h, return_attention_scores=True))
    w_dense, v_dense = layer.energy.query_dense, layer.energy.key_dense
    w_mat, v_mat, b = (to_numpy(x.value) for x in (w_dense.kernel, v_dense.kernel, v_dense.bias))
    w = to_numpy(layer.energy.score_dense.kernel.value)[:, 0]
    f_mat = to_numpy(layer.location_conv.kernel.value)  # (steps, inputs, filters)
    u = to_numpy(layer.location_dense.kernel.value)
    for n in range(2):
        previous = np.zeros((5, 1 + use_cumulative_weights))
        for i in range(3):
            e = np.zeros(5)
            for j in range(5):
                f = np.zeros(2)  # eq. 8: filters centred on j
                for offset in (-1, 0, 1):
                    if 0 <= j + offset < 5:
                        f += previous[j + offset] @ f_mat[offset + 1]
                e[j] = w @ np.tanh(s[n, i] @ w_mat + h[n, j] @ v_mat + f @ u + b)  # eq. 9
            expected = np.exp(e) / np.exp(e).sum()
            np.testing.assert_allclose(alpha[n, i], expected, rtol=1e-4)
            np.testing.assert_allclose(g[n, i], expected @ h[n], rtol=1e-4, atol=1e-5)
            previous[:, 0] = expected
            if use_cumulative_weights:
                previous[:, 1] += expected


def test_it_learns_to_move_on_where_all_steps_look_alike():
    """Equal values: only the location of the last weights can tell where to go next."""
    keras.utils.set_random_seed(0)
    value = np.ones((8, 9, 2), "float32")
    query = np.ones((8, 6, 2), "float32")
    start = np.random.default_rng(0).integers(0, 3, 8)
    value[np.arange(8), start, 1] = -1.0  # but for the first, which the query knows to begin with
    query[:, 0, 1] = -1.0
    target = np.eye(9, dtype="float32")[start[:, None] + np.arange(6)]

    def error(attention):
        inputs = keras.Input((6, 2)), keras.Input((None, 2))
        _, weights = attention(*inputs, return_attention_scores=True)
        model = keras.Model(inputs, weights)
        model.compile(keras.optimizers.Adam(0.03), "mae")
        # One epoch of the same batch over and over: epochs cost more than batches here.
        often = [np.concatenate([x] * 150) for x in (query, value, target)]
        model.fit(often[:2], often[2], batch_size=8, shuffle=False, verbose=0)
        return np.mean(to_numpy(model((query, value))).argmax(-1) != target.argmax(-1))

    assert error(ka.LocationSensitiveAttention(16, filters=4, kernel_size=3)) < 0.1
    assert error(ka.ContentAttention(score=ka.AdditiveScore(16))) > 0.4


def test_rejects_an_even_kernel_size():
    with pytest.raises(ValueError, match="`kernel_size` must be odd.* kernel_size=4"):
        ka.LocationSensitiveAttention(kernel_size=4)


def test_rejects_bad_filters():
    with pytest.raises(ValueError, match="`filters` must be a positive integer.* filters=0"):
        ka.LocationSensitiveAttention(filters=0)


def test_rejects_key_and_value_of_different_lengths():
    with pytest.raises(ValueError, match=r"same number of steps.*value_shape=\(2, 5, 4\), key_sh"):
        layer = ka.LocationSensitiveAttention()
        layer(np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, 6, 4)))
