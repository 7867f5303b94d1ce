"""LocalAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.scores.names import SCORES
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


def _case(center, **kwargs):
    return Case(
        lambda **kw: ka.LocalAttention(2, center=center, **{"score": "additive", **kwargs, **kw}),
        tensors={"query": "BTD", "value": "BSE", "key": "BSF"},
        weights="BTS",
        masks={"query_mask": "query", "value_mask": "value", "key_mask": "key"},
        attention_mask="BTS",
        is_causal=True,
        sums_to_one=center == "monotonic",
        sees_all=False,
    )


class TestContract(LayerContract):
    cases = {
        "predictive": _case("predictive"),
        "monotonic": _case("monotonic"),
        "value as key, sparsemax": Case(
            lambda **kw: ka.LocalAttention(2, units=3, normalizer="sparsemax", **kw),
            tensors={"query": "BTD", "value": "BSD"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value"},
            attention_mask="BTS",
            is_causal=True,
            sums_to_one=False,
            sees_all=False,
        ),
    }


RNG = np.random.default_rng(0)
TARGET, SOURCE = RNG.normal(size=(2, 9, 4)), RNG.normal(size=(2, 9, 4))
LENGTHS = (9, 6)
MASK = np.arange(9) < np.array(LENGTHS)[:, None]


def _align(h_t, sources, p_t, half_width):
    """Eq. 7 with dot scores, over the integers in [p_t - D, p_t + D] inside the sentence."""
    inside = [s for s in range(len(sources)) if p_t - half_width <= s <= p_t + half_width]
    total = sum(np.exp(h_t @ sources[s]) for s in inside)
    return {s: np.exp(h_t @ sources[s]) / total for s in inside}


def test_equation_7_of_luong_2015_local_m():
    layer = ka.LocalAttention(2, "dot", center="monotonic")
    context, weights = to_numpy(
        layer(TARGET, SOURCE, value_mask=MASK, return_attention_scores=True)
    )
    for b, length in enumerate(LENGTHS):
        for t in range(min(length + 2, 9)):
            expected = np.zeros(9)
            for s, weight in _align(TARGET[b, t], SOURCE[b, :length], t, 2).items():
                expected[s] = weight
            np.testing.assert_allclose(weights[b, t], expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(context[b, t], expected @ SOURCE[b], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(weights[1, 8], 0)  # its window lies beyond the sentence


def test_equations_9_and_10_of_luong_2015_local_p():
    layer = ka.LocalAttention(2, "dot", units=3)
    layer(TARGET, SOURCE)
    for weight in layer.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    w_p, v_p = (w.astype("float64") for w in layer.get_weights())
    _, weights = to_numpy(layer(TARGET, SOURCE, value_mask=MASK, return_attention_scores=True))
    centers = to_numpy(layer.centers(TARGET, SOURCE, value_mask=MASK))
    assert centers.shape == (2, 9)
    sigma = 2 / 2
    for b, length in enumerate(LENGTHS):
        for t in range(9):
            h_t = TARGET[b, t]
            p_t = length / (1 + np.exp(-(v_p[:, 0] @ np.tanh(w_p.T @ h_t))))
            np.testing.assert_allclose(centers[b, t], p_t, rtol=1e-4)
            expected = np.zeros(9)
            for s, align in _align(h_t, SOURCE[b, :length], p_t, 2).items():
                expected[s] = align * np.exp(-((s - p_t) ** 2) / (2 * sigma**2))
            np.testing.assert_allclose(weights[b, t], expected, rtol=1e-3, atol=1e-6)
    assert (weights.sum(-1) < 1).all()


@pytest.mark.parametrize("center", ["predictive", "monotonic"])
def test_the_length_is_the_mask_s_wherever_the_padding_is(center):
    layer = ka.LocalAttention(1, "dot", center=center)
    query, value = TARGET[:1, :4], SOURCE[:1, :5]
    expected = to_numpy(layer(query, value))
    centers = to_numpy(layer.centers(query, value))
    for places in ([0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [0, 2, 3, 5, 8]):  # after, before, between
        padded, mask = np.full((1, 9, 4), np.nan), np.zeros((1, 9), "bool")
        padded[:, places], mask[:, places] = value, True
        got = to_numpy(layer(query, padded, value_mask=mask))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        got = to_numpy(layer.centers(query, padded, value_mask=mask))
        np.testing.assert_allclose(got, centers, rtol=1e-5)


def test_a_monotonic_centre_does_not_count_masked_queries():
    layer = ka.LocalAttention(1, "dot", center="monotonic")
    expected = to_numpy(layer(TARGET[:, :5], SOURCE))
    query = np.concatenate([np.full((2, 3, 4), np.nan), TARGET[:, :5]], axis=1)
    mask = np.repeat([[False] * 3 + [True] * 5], 2, 0)
    got = to_numpy(layer(query, SOURCE, query_mask=mask))
    np.testing.assert_array_equal(got[:, :3], 0)
    np.testing.assert_allclose(got[:, 3:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("center", ["predictive", "monotonic"])
def test_a_causal_mask_hides_how_long_the_future_is(center):
    layer = ka.LocalAttention(2, "dot", center=center)
    whole = to_numpy(layer(TARGET, TARGET, use_causal_mask=True))
    start = to_numpy(layer(TARGET[:, :4], TARGET[:, :4], use_causal_mask=True))
    np.testing.assert_allclose(whole[:, :4], start, rtol=1e-4, atol=1e-5)
    assert np.abs(whole).max(-1).min() > 0  # each window holds a step


def test_centres_in_bfloat16_tell_distant_steps_apart():
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = ka.LocalAttention(2, "dot")
    query, value = np.ones((1, 1, 4), "float32"), np.ones((1, 2000, 4), "float32")
    layer(query, value)
    layer.hidden_dense.kernel.assign(np.full((4, 4), 0.25))
    for v in (0.1, 0.101):
        layer.center_dense.kernel.assign(np.full((4, 1), v))
        expected = 2000 / (1 + np.exp(-4 * v * np.tanh(1)))  # 1151.4 and 1152.8
        np.testing.assert_allclose(layer.centers(query, value), [[expected]], atol=0.01)


def _planted(size, seed):
    """Sequences of 8 to 16 steps; each query names, as a fraction, the step that it asks for."""
    rng = np.random.default_rng(seed)
    length = rng.integers(8, 17, size=(size, 1))
    fraction = rng.random((size, 3))
    place = np.floor(fraction * length).astype(int)
    value = rng.normal(size=(size, 16, 4)).astype("float32")
    mask = np.arange(16) < length
    value[~mask] = 0.0
    waves = 2 * np.pi * fraction[..., None] * np.array([0.25, 0.5, 1.0])
    query = np.concatenate([np.cos(waves), np.sin(waves)], -1).astype("float32")
    target = np.take_along_axis(value, place[..., None], axis=1)
    return {"query": query, "value": value, "mask": mask}, target, place


def test_local_p_learns_a_planted_alignment():
    inputs = {
        "query": keras.Input((None, 6), name="query"),
        "value": keras.Input((None, 4), name="value"),
        "mask": keras.Input((None,), name="mask", dtype="bool"),
    }
    layer = ka.LocalAttention(2, "bilinear", units=16)
    context = layer(inputs["query"], inputs["value"], value_mask=inputs["mask"])
    model = keras.Model(inputs, keras.layers.Dense(4, kernel_initializer="identity")(context))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    train, target, _ = _planted(1024, seed=1)
    model.fit(train, target, epochs=20, batch_size=64, verbose=0)
    test, target, place = _planted(200, seed=2)
    centers = to_numpy(layer.centers(test["query"], test["value"], value_mask=test["mask"]))
    within_one_step = np.abs(centers - place) <= 1
    assert within_one_step.mean() > 0.95
    mean_of_all = np.square(target).mean()
    assert model.evaluate(test, target, verbose=0) < 0.5 * mean_of_all


BROADCAST = {
    (1, 1): np.ones((1, 1), "bool"),
    (4, 1): np.array([[True], [False], [True], [True]]),
    (1, 9): MASK[1:],
    (1, 4, 1): np.array([[[True], [True], [False], [True]]]),
    (2, 1, 9): MASK[:, None],
    (2, 4, 1): np.array([[[True]] * 4, [[True], [False], [False], [True]]]),
}


@pytest.mark.parametrize("center", ["predictive", "monotonic"])
@pytest.mark.parametrize("shape", BROADCAST)
def test_a_broadcast_mask_is_counted_at_full_size(center, shape):
    layer = ka.LocalAttention(1, "dot", center=center)
    query, small = TARGET[:, :4], BROADCAST[shape]
    layer(query, SOURCE)
    for given in ({}, {"use_causal_mask": True}, {"value_mask": MASK[:1]}):
        full = np.broadcast_to(small, (2, 4, 9))
        expected = layer(query, SOURCE, attention_mask=full, **given)
        got = layer(query, SOURCE, attention_mask=small, **given)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        centers = layer.centers(query, SOURCE, attention_mask=small, **given)
        expected = layer.centers(query, SOURCE, attention_mask=full, **given)
        np.testing.assert_allclose(centers, expected, rtol=1e-5)
        if small.all():
            plain = layer(query, SOURCE, **given)
            np.testing.assert_allclose(got, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("center", ["predictive", "monotonic"])
@pytest.mark.parametrize("score", [*sorted(SCORES), ka.DotScore() + ka.ALiBiScore([0.5])], ids=str)
def test_the_steps_near_a_centre_alone_equal_the_whole(center, score):
    """For short windows keys and values are gathered: S > W (D_key + D_value) here."""
    rng = np.random.default_rng(1)
    query, value = rng.normal(size=(2, 5, 2)), rng.normal(size=(2, 30, 2))
    layer = ka.LocalAttention(1, score, center=center)
    layer(query, value)
    value_mask = np.arange(30) < np.array([[30], [17]])
    query_mask = np.array([[True] * 5, [True, False, True, True, False]])
    for given in (
        {},
        {"value_mask": value_mask, "query_mask": query_mask},
        {"value_mask": value_mask[1:], "query_mask": query_mask[1:]},
        {"use_causal_mask": True, "value_mask": value_mask},
    ):
        whole, _ = layer(query, value, **given, return_attention_scores=True)
        with ka.query_blocks(threshold=0, block=1):
            near = layer(query, value, **given)
            empty = layer(query[:, :0], value)
        np.testing.assert_allclose(near, whole, rtol=1e-4, atol=1e-5)
        assert empty.shape == (2, 0, 2)


def test_rejects_bad_half_width():
    with pytest.raises(ValueError, match="`half_width` must be a positive integer.*half_width=0"):
        ka.LocalAttention(0)


def test_rejects_bad_center():
    with pytest.raises(ValueError, match="must be one of 'predictive', 'monotonic'.*center='m'"):
        ka.LocalAttention(1, center="m")


def test_rejects_units_of_a_monotonic_centre():
    with pytest.raises(ValueError, match="no hidden layer.*center='monotonic', units=3"):
        ka.LocalAttention(1, center="monotonic", units=3)


def test_rejects_sizes_that_the_score_cannot_compare():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 4\), key_shape=\(2, 5, 6\)"):
        ka.LocalAttention(1)(np.ones((2, 3, 4)), np.ones((2, 5, 6)))
