"""MonotonicAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.recurrent.monotonic_attention import hard, median, parallel, recursive
from tests.backend import to_numpy
from tests.contract import Case, LayerContract

ARGUMENTS = {
    "tensors": {"query": "BTD", "value": "BSE", "key": "BSF"},
    "weights": "BTS",
    "masks": {"query_mask": "query", "value_mask": "value", "key_mask": "key"},
    "sums_to_one": False,
    "is_slow": True,
}


class TestContract(LayerContract):
    cases = {
        "parallel": Case(lambda **kw: ka.MonotonicAttention(units=6, **kw), **ARGUMENTS),
        "hard, noise": Case(
            lambda **kw: ka.MonotonicAttention(
                units=6, form="hard", initial_offset=0.3, **{"noise": 1.0, **kw}
            ),
            is_random=True,
            **ARGUMENTS,
        ),
        "median": Case(
            lambda **kw: ka.MonotonicAttention(units=6, form="median", **kw), **ARGUMENTS
        ),
    }


def test_the_recursive_form_computes_the_same_as_the_parallel_one():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 7, 6))
    mask = rng.random((2, 7)) > 0.3
    layer = ka.MonotonicAttention(form="parallel")
    layer(query, value)
    layer.offset.assign(0.3)
    other = ka.MonotonicAttention.from_config({**layer.get_config(), "form": "recursive"})
    other(query, value)
    other.set_weights(layer.get_weights())
    inputs, seen = keras.Input((None, 4)), keras.Input((None, 6))
    model = keras.Model((inputs, seen), other(inputs, seen, return_attention_scores=True))
    for got, expected in zip(
        to_numpy(other(query, value, value_mask=mask, return_attention_scores=True)),
        to_numpy(layer(query, value, value_mask=mask, return_attention_scores=True)),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(
        model((query, value))[1],
        to_numpy(layer(query, value, return_attention_scores=True)[1]),
        atol=1e-5,
    )


def _expected_weights(p, before):
    """Eq. 9, term by term."""
    alpha = np.zeros(len(p))
    for j in range(len(p)):
        alpha[j] = p[j] * sum(
            before[k] * np.prod([1 - p[n] for n in range(k, j)]) for k in range(j + 1)
        )
    return alpha


@pytest.mark.parametrize("form", [parallel, recursive])
@pytest.mark.parametrize("sure", [False, True])
def test_equation_9_of_raffel_2017(form, sure):
    """Also where a product of (1 - p) over the whole row is zero, or far below float32."""
    rng = np.random.default_rng(0)
    p = rng.random((4, 40))
    if sure:
        p = 1 / (1 + np.exp(-30 * rng.normal(size=p.shape)))
        p[:, 3] = 1.0
    before = rng.dirichlet(np.ones(40), size=4)
    expected = np.stack([_expected_weights(*row) for row in zip(p, before, strict=True)])
    got = to_numpy(form(*(keras.ops.array(x, "float32") for x in (p, before))))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_parallel_and_recursive_forms_agree_to_1e_5_over_many_queries():
    rng = np.random.default_rng(1)
    p = rng.random((12, 2, 60)).astype("float32") ** 3
    first = keras.ops.array(np.eye(60)[[0, 0]], "float32")
    rows = dict.fromkeys((parallel, recursive), first)
    for step in p:
        rows = {form: form(keras.ops.array(step), row) for form, row in rows.items()}
    np.testing.assert_allclose(*map(to_numpy, rows.values()), atol=1e-5)
    assert to_numpy(rows[parallel]).sum() > 0.5  # the walk has not run out


@pytest.mark.parametrize("form", [hard, median])
def test_forms_for_inference_are_the_expectation_where_p_is_zero_or_one_and_never_go_back(form):
    rng = np.random.default_rng(2)
    row = np.eye(12, dtype="float32")[[0] * 50]
    last, moved = np.zeros(50), 0
    for _ in range(6):
        p = (rng.random((50, 12)) > 0.7).astype("float32")
        expected = to_numpy(recursive(keras.ops.array(p), keras.ops.array(row)))
        row = to_numpy(form(p, row))
        np.testing.assert_array_equal(row, expected)
        stops = row.sum(1) > 0
        assert (row.argmax(1) >= last)[stops].all()
        moved += (row.argmax(1) > last)[stops].sum()
        last = np.where(stops, row.argmax(1), 12)  # past the end it stays
    assert moved > 30


def test_the_hard_form_stops_at_the_first_likely_step_from_the_last_stop_on():
    p = np.array([[0.9, 0.4, 0.6, 0.8], [0.1, 0.2, 0.3, 0.4]], "float32")
    before = np.array([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]], "float32")
    np.testing.assert_array_equal(hard(p, before), [[0, 0, 1, 0], [0, 0, 0, 0]])


def test_the_median_form_stops_where_the_expected_stop_has_its_median():
    rng = np.random.default_rng(3)
    p = rng.random((200, 15)).astype("float32") ** 3
    p[:9, 4] = 1.0
    before = np.eye(15, dtype="float32")[rng.integers(0, 15, 200)]
    before[9] = 0.0  # the query before went through to the end
    stopped = np.cumsum([_expected_weights(*row) for row in zip(p, before, strict=True)], axis=1)
    expected = np.where(stopped.max(1) > 0.5, (stopped > 0.5).argmax(1), -1)
    found = to_numpy(median(p, before))
    np.testing.assert_array_equal(found.sum(1), expected >= 0)
    np.testing.assert_array_equal(found.argmax(1)[expected >= 0], expected[expected >= 0])
    assert 20 < (expected < 0).sum() < 180


def test_modified_energy_of_raffel_2017():
    rng = np.random.default_rng(0)
    s, h = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    layer = ka.MonotonicAttention(units=7)
    layer(s, h)
    layer.gain.assign(1.7)
    layer.offset.assign(-0.4)
    context, alpha = to_numpy(layer(s, h, return_attention_scores=True))
    energy = layer.energy
    w, v_mat = to_numpy(energy.query_dense.kernel.value), to_numpy(energy.key_dense.kernel.value)
    b, v = to_numpy(energy.key_dense.bias.value), to_numpy(energy.score_dense.kernel.value)[:, 0]
    for n in range(2):
        row = np.eye(5)[0]  # alpha_0
        for i in range(3):
            e = [
                1.7 * v @ np.tanh(s[n, i] @ w + h[n, j] @ v_mat + b) / np.linalg.norm(v) - 0.4
                for j in range(5)
            ]
            row = _expected_weights(1 / (1 + np.exp(-np.array(e))), row)
            np.testing.assert_allclose(alpha[n, i], row, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(context[n, i], row @ h[n], rtol=1e-4, atol=1e-5)


def test_padding_within_the_sequence_is_passed_over():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(1, 3, 4)), rng.normal(size=(1, 6, 4))
    mask = np.array([[False, True, False, True, True, False]])
    layer = ka.MonotonicAttention(units=5)
    padded = to_numpy(layer(query, value, value_mask=mask, return_attention_scores=True)[1])
    short = to_numpy(layer(query, value[:, mask[0]], return_attention_scores=True)[1])
    np.testing.assert_allclose(padded[:, :, mask[0]], short, atol=1e-6)


def test_noise_in_training_alone():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))
    layer = ka.MonotonicAttention(units=5, noise=1.0, seed=3)
    calm = to_numpy(layer(query, value))
    np.testing.assert_array_equal(calm, to_numpy(layer(query, value)))
    noisy = to_numpy(layer(query, value, training=True))
    assert np.abs(noisy - calm).max() > 0.01
    assert np.abs(noisy - to_numpy(layer(query, value, training=True))).max() > 0.01


def test_rejects_bad_form():
    with pytest.raises(ValueError, match="`form` must be one of 'parallel', 'rec.*form='soft'"):
        ka.MonotonicAttention(form="soft")


def test_rejects_bad_noise():
    with pytest.raises(ValueError, match="`noise` must be a number of at least 0.* noise=-1"):
        ka.MonotonicAttention(noise=-1)


def test_rejects_bad_initial_offset():
    with pytest.raises(ValueError, match="`initial_offset` must be a number.*initial_offset='a'"):
        ka.MonotonicAttention(initial_offset="a")
