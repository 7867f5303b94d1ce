"""faithfulness."""

import math

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy

FRACTIONS = (0.1, 0.3, 0.5)


def _texts(rows=40, steps=12, seed=0):
    """Ids of different lengths, in which a 1 or a 2 decides and the rest are noise."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, 9, size=(rows, steps))
    labels, lengths = rng.integers(0, 2, rows), rng.integers(4, steps + 1, rows)
    for row, label, length in zip(ids, labels, lengths, strict=True):
        row[length:] = 0
        row[rng.integers(0, length)] = label + 1
    return ids, labels


def _predict(ids):
    """Probabilities that fall with every 1 and rise with every 2, and a little with the rest."""
    score = 3.0 * (ids == 2).sum(1) - 3.0 * (ids == 1).sum(1) + 0.05 * (ids > 5).sum(1)
    p = 1 / (1 + np.exp(-score))
    return np.stack([1 - p, p], axis=1)


def test_equations_1_and_2_of_deyoung_2020():
    ids, _ = _texts()
    weights = np.random.default_rng(1).random(ids.shape)
    got = ka.faithfulness(_predict, ids, weights, fractions=FRACTIONS)
    for i, row in enumerate(ids):
        x = [token for token in row if token]
        m_x = _predict(np.array([x]))[0]
        j = m_x.argmax()
        by_weight = sorted(range(len(x)), key=lambda step: -weights[i, step])
        for k, fraction in enumerate(FRACTIONS):
            rationale = set(by_weight[: math.ceil(fraction * len(x))])
            without = [token for step, token in enumerate(x) if step not in rationale]
            alone = [token for step, token in enumerate(x) if step in rationale]
            expected = m_x[j] - _predict(np.array([without]))[0][j]  # eq. 1
            assert got["comprehensiveness_at"][i, k] == pytest.approx(expected)
            expected = m_x[j] - _predict(np.array([alone]))[0][j]  # eq. 2
            assert got["sufficiency_at"][i, k] == pytest.approx(expected)
    for name in ("comprehensiveness", "sufficiency"):
        np.testing.assert_allclose(got[name], got[f"{name}_at"].mean(1))


def test_weights_on_the_deciding_words_beat_random_ones():
    ids, _ = _texts()
    planted = np.isin(ids, (1, 2)).astype(float)
    random = np.random.default_rng(1).random(ids.shape)
    right, wrong = (ka.faithfulness(_predict, ids, w) for w in (planted, random))
    assert right["comprehensiveness"].mean() > 2 * wrong["comprehensiveness"].mean()
    assert right["sufficiency"].mean() < 0.5 * wrong["sufficiency"].mean()


def test_a_trained_model_and_its_own_weights():
    ids, labels = _texts(400)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = ka.AttentionPooling(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    model.fit(ids, labels, epochs=12, verbose=0)
    weights = ka.attention_maps(model, ids)["pool"]

    def predict(ids):
        return to_numpy(model(ids))

    own = ka.faithfulness(predict, ids, weights, fractions=FRACTIONS)
    random = np.random.default_rng(1).random(ids.shape)
    other = ka.faithfulness(predict, ids, random, fractions=FRACTIONS)
    assert own["comprehensiveness"].mean() > 2 * other["comprehensiveness"].mean()
    assert own["sufficiency"].mean() < other["sufficiency"].mean()


def test_features_and_a_mask():
    x = np.array([[[1.0, 0], [5, 0], [0, 0], [9, 9]]])
    mask = np.array([[True, True, True, False]])
    seen = []

    def predict(x):
        seen.append(x[0, :, 0].tolist())
        return np.array([0.9])

    ka.faithfulness(predict, x, np.array([[0.2, 0.7, 0.1, 5.0]]), mask, fractions=[0.3])
    assert seen == [[1, 5, 0, 9], [1, 0, 0, 0], [5, 0, 0, 0]]


def test_a_tenth_of_thirty_steps_is_three():
    seen = []

    def predict(ids):
        seen.append((ids > 0).sum())
        return np.array([0.9])

    ka.faithfulness(predict, np.ones((1, 30), int), np.ones((1, 30)), fractions=[0.1])
    assert seen == [30, 27, 3]


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_weights_without_a_sign(dtype):
    ids = np.array([[3, 7, 5, 0]])
    got = ka.faithfulness(lambda ids: np.any(ids == 7, axis=1) * 0.9, ids, (ids == 7).astype(dtype))
    assert got["comprehensiveness"] == pytest.approx(0.9)


def test_an_empty_text_explains_nothing():
    got = ka.faithfulness(_predict, np.zeros((1, 4), int), np.zeros((1, 4)))
    assert got["comprehensiveness"] == got["sufficiency"] == 0


def test_rejects_weights_of_another_shape():
    with pytest.raises(ValueError, match=r"weights.shape=\(2, 4\), inputs.shape=\(2, 5\)"):
        ka.faithfulness(_predict, np.ones((2, 5)), np.ones((2, 4)))


@pytest.mark.parametrize("shape", [(2,), (5,), (1, 5), (2, 4), (2, 5, 1)])
def test_rejects_a_mask_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"`mask` must have .*mask.shape=.*inputs.shape=\(2, 5\)"):
        ka.faithfulness(_predict, np.ones((2, 5)), np.ones((2, 5)), np.ones(shape, bool))


@pytest.mark.parametrize("mask", [[[0.0, -1e9, 0.0]], [[1.0, 0.0, 1.0]], [[0, -1, 0]]])
def test_rejects_a_mask_that_is_not_boolean(mask):
    with pytest.raises(ValueError, match=r"`mask` must be boolean, True for .*mask.dtype="):
        ka.faithfulness(_predict, np.ones((1, 3)), np.ones((1, 3)), mask)


def test_a_mask_of_integers_is_one_of_booleans():
    ids, _ = _texts()
    weights, mask = np.random.default_rng(1).random(ids.shape), ids > 0
    expected = ka.faithfulness(_predict, ids, weights, mask)
    got = ka.faithfulness(_predict, ids, weights, mask.astype("int32"))
    np.testing.assert_array_equal(got["sufficiency_at"], expected["sufficiency_at"])


def test_rejects_weights_that_are_no_numbers():
    weights = np.array([[0.5, np.nan, 0.1], [0.2, 0.3, 0.5]])
    with pytest.raises(ValueError, match=r"`weights` must be finite .* Received: NaN"):
        ka.faithfulness(_predict, np.ones((2, 3), int), weights)
    ids = np.array([[3, 0, 4], [3, 3, 3]])  # where there is padding they may be anything
    assert np.isfinite(ka.faithfulness(_predict, ids, weights)["sufficiency"]).all()


@pytest.mark.parametrize(
    "inputs", [np.ones((2, 3, 4, 5)), np.ones(3), np.array([["a", "b"], ["c", "d"]])]
)
def test_rejects_inputs_that_are_no_steps(inputs):
    with pytest.raises(ValueError, match=r"`inputs` must be one array of numbers.*inputs.shape="):
        ka.faithfulness(_predict, inputs, np.ones(inputs.shape[:2]))


@pytest.mark.parametrize("padding", [0.5, np.nan, None, "0", [0], -1])
def test_rejects_padding_that_the_inputs_cannot_hold(padding):
    with pytest.raises(ValueError, match=r"`padding` must be .*inputs.dtype=uint8"):
        ka.faithfulness(_predict, np.ones((2, 3), "uint8"), np.ones((2, 3)), padding=padding)


def test_rejects_bad_fractions():
    with pytest.raises(ValueError, match=r"`fractions` must be .*fractions=\[0.1, 20.0\]"):
        ka.faithfulness(_predict, np.ones((2, 5)), np.ones((2, 5)), fractions=(0.1, 20))


def test_rejects_predictions_that_are_no_probabilities():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\) for inputs of shape \(2, 5\)"):
        ka.faithfulness(lambda _: np.ones((2, 3, 4)), np.ones((2, 5)), np.ones((2, 5)))


@pytest.mark.parametrize("outputs", [[2.5, -3.0], [[1.2, -0.2], [0.5, 0.5]], [np.nan, 0.5]])
def test_rejects_logits(outputs):
    with pytest.raises(ValueError, match=r"`predict` must return probabilities, from 0 to 1"):
        ka.faithfulness(lambda _: np.array(outputs), np.ones((2, 5)), np.ones((2, 5)))
