"""functional.normalize, against the definitions."""

import keras
import numpy as np
import pytest

from keras_attention.functional import normalize
from tests.backend import run, to_numpy

RNG = np.random.default_rng(0)
SCORES = np.concatenate([RNG.normal(size=(6, 7)) * s for s in (0.1, 1, 3, 30)]).astype("float32")
MASK = RNG.random(SCORES.shape) > 0.4
MASK[:, 0] = True


def _softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def _sigmoid(z):
    return 1 / (1 + np.exp(-z.astype("float64")))


def _entmax(z, alpha):
    """The maximizer of p.z + H_alpha(p), by bisection for its threshold (Peters 2019, eq. 8)."""
    z = (alpha - 1) * z.astype("float64")
    low, high = z.max() - 1, z.max()
    for _ in range(200):
        tau = (low + high) / 2
        p = np.maximum(z - tau, 0) ** (1 / (alpha - 1))
        low, high = (tau, high) if p.sum() > 1 else (low, tau)
    return p / p.sum()


ORACLES = {
    "softmax": _softmax,
    "sparsemax": lambda z: _entmax(z, 2.0),
    "entmax15": lambda z: _entmax(z, 1.5),
    "hard": lambda z: np.eye(len(z))[z.argmax()],
    "smooth": lambda z: _sigmoid(z) / _sigmoid(z).sum(),
    "uniform": lambda z: np.full(len(z), 1 / len(z)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_equals_its_definition(name):
    expected = np.stack([ORACLES[name](row) for row in SCORES])
    np.testing.assert_allclose(normalize.get(name)(SCORES), expected, atol=2e-6)


@pytest.mark.parametrize("name", ORACLES)
def test_a_masked_row_is_the_row_without_its_masked_steps(name):
    expected = np.zeros(SCORES.shape)
    for row, mask, out in zip(SCORES, MASK, expected, strict=True):
        out[mask] = ORACLES[name](row[mask])
    got = to_numpy(normalize.get(name)(SCORES, MASK))
    np.testing.assert_allclose(got, expected, atol=2e-6)
    np.testing.assert_array_equal(got[~MASK], 0)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_huge_scores_and_empty_rows_stay_finite(name, dtype):
    scores = keras.ops.cast(SCORES / np.abs(SCORES).max() * 1e4, dtype)
    mask = MASK.copy()
    mask[3] = False
    weights = normalize.get(name)(scores, mask)
    assert keras.backend.standardize_dtype(weights.dtype) == dtype
    weights = to_numpy(keras.ops.cast(weights, "float32"))
    np.testing.assert_array_equal(weights[3], 0)
    np.testing.assert_allclose(np.delete(weights, 3, 0).sum(-1), 1, atol=1e-2)


@pytest.mark.parametrize("name", ORACLES)
def test_a_single_step_has_all_the_weight_without_a_warning(name):
    scores = keras.ops.convert_to_tensor([[-3.0], [5.0], [5.0]])
    assert to_numpy(normalize.get(name)(scores)).tolist() == [[1.0]] * 3
    mask = [[True], [True], [False]]
    assert to_numpy(normalize.get(name)(scores, mask)).tolist() == [[1.0], [1.0], [0.0]]


def test_ties_share():
    for name in ("softmax", "sparsemax", "entmax15"):
        weights = normalize.get(name)(np.array([[2.0, 2.0, 2.0, -9.0]], "float32"))
        np.testing.assert_allclose(to_numpy(weights)[0, :3], 1 / 3, atol=1e-4)


def test_hundreds_of_steps_far_below_the_maximum_are_exact():
    row = np.full((1, 5000), -500.0, "float32")
    row[0, [7, 4321]] = 1.0, 0.75
    for name in ("sparsemax", "entmax15"):
        got = to_numpy(normalize.get(name)(row))
        np.testing.assert_allclose(got[0, [7, 4321]], ORACLES[name](row[0, [7, 4321]]), atol=1e-6)
        assert np.count_nonzero(got) == 2


@pytest.mark.parametrize("name", ["softmax", "sparsemax", "entmax15", "smooth", "uniform"])
def test_gradient_is_the_derivative(name):
    """Central differences of the oracle, away from the edges of the support."""
    row, projection = SCORES[8].astype("float64"), RNG.normal(size=7)

    class Probe(keras.layers.Layer):
        def build(self, shape):
            self.scores = self.add_weight(shape=(7,), initializer="zeros")

        def call(self, x):
            weights = normalize.get(name)(self.scores)
            return x * keras.ops.sum(weights * keras.ops.array(projection, "float32"))

    from tests.backend import run

    probe = Probe()
    probe(np.ones((1, 1), "float32"))
    probe.scores.assign(row)
    factor = np.random.default_rng(0).normal(size=1)[0]  # the helper's projection
    gradient = run(probe, {"x": np.ones((1, 1), "float32")})[1][0] / factor
    step = 1e-5
    expected = [
        (ORACLES[name](row + step * e) - ORACLES[name](row - step * e)) @ projection / (2 * step)
        for e in np.eye(7)
    ]
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_gumbel_noise_makes_hard_a_sample_of_softmax():
    row = np.array([0.5, -1.0, 2.0], "float32")
    noise = normalize.gumbel_noise((20000, 3), seed=1)
    drawn = to_numpy(normalize.hard(np.tile(row, (20000, 1)), noise=noise)).mean(0)
    np.testing.assert_allclose(drawn, _softmax(row), atol=0.015)


def test_identity_only_masks():
    expected = np.where(MASK, SCORES, 0)
    np.testing.assert_array_equal(normalize.identity(SCORES), SCORES)
    np.testing.assert_array_equal(normalize.identity(SCORES, MASK), expected)
    empty = normalize.identity(np.full((1, 2), 3.0, "float16"), np.zeros((1, 2), "bool"))
    np.testing.assert_array_equal(empty, np.zeros((1, 2), "float16"))


def test_uniform_reads_no_score():
    scores = np.array([[np.nan, np.inf, -np.inf, 0.0]], "float32")
    weights = normalize.uniform(scores, np.array([[False, True, True, True]]))
    np.testing.assert_allclose(weights, [[0, 1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="'softmax', 'sparsemax', 'entmax15', 'hard'.*'softmx'"):
        normalize.get("softmx")


def test_names_survive_serialization():
    for name in normalize.NORMALIZERS:
        assert normalize.serialize(normalize.get(name)) == name


def test_softmax_of_rows_is_softmax_where_a_row_has_a_step():
    scores = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    mask = np.array([[1, 1, 0, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], "bool")
    found = to_numpy(normalize.softmax_of_rows(keras.ops.convert_to_tensor(scores), mask))
    expected = np.where(mask, np.exp(scores), 0)[:2]
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found[:2], expected, rtol=1e-5)
    assert (found[0] == 0).tolist() == [False, False, True, True, False]
    assert np.isfinite(found[2]).all()


@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
@pytest.mark.parametrize("scale", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("use_mask", [False, True])
def test_scores_that_xla_computes_twice_give_the_eager_weights(name, scale, use_mask):
    """For the threshold, and for what lies above it: XLA may round them differently."""
    rng = np.random.default_rng(0)
    x, a, b = (rng.normal(size=(64, 40)).astype("float32") for _ in range(3))
    mask = rng.random((64, 40)) > 0.3 if use_mask else None

    class Scaled(keras.layers.Layer):
        def call(self, x):
            return normalize.get(name)(scale * (x * a + b), mask)

    layer = Scaled()
    expected = to_numpy(layer(x))
    output, _, gradients = run(layer, {"x": x}, jit=True)
    np.testing.assert_allclose(output, expected, atol=1e-4)
    assert np.isfinite(gradients["x"]).all()
