"""Parts of the detector, against NumPy written from the papers."""

import keras
import numpy as np
import pytest
from keras import ops

from recipes.parts import detector
from recipes.parts.average_precision import overlaps


def test_focal_loss_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 3, 4, 2))
    heat = rng.uniform(0, 0.9, (2, 3, 4, 2))
    heat[0, 1, 2, 0] = heat[0, 0, 0, 1] = heat[1, 2, 3, 1] = 1
    p = 1 / (1 + np.exp(-logits))
    expected = np.zeros(2)
    for index in np.ndindex(heat.shape):
        if heat[index] == 1:
            expected[index[0]] -= (1 - p[index]) ** 2 * np.log(p[index])
        else:
            share = (1 - heat[index]) ** 4 * p[index] ** 2
            expected[index[0]] -= share * np.log(1 - p[index])
    loss = detector.focal_loss(heat.astype("float32"), logits.astype("float32"))
    np.testing.assert_allclose(loss, expected / 1.5, rtol=1e-5)  # three middles in two images


def test_overlap_loss_is_that_of_the_boxes():
    rng = np.random.default_rng(1)
    true, sides = rng.uniform(1, 20, (2, 2, 3, 3, 4))
    weight = rng.uniform(0, 1, (2, 3, 3))
    weight[:, 0] = 0
    expected = np.zeros(2)
    for index in np.ndindex(weight.shape):
        a, b = (np.array([-x[0], -x[1], x[2], x[3]]) for x in (true[index], sides[index]))
        low, high = np.minimum(a, b)[:2], np.maximum(a, b)[2:]
        around = np.prod(high - low)
        areas = sum(np.prod(x[2:] - x[:2]) for x in (a, b))
        iou = overlaps(a, b)[0, 0]
        union = areas / (1 + iou)
        expected[index[0]] += weight[index] * (1 - iou + (around - union) / around)
    given = np.concatenate([true, weight[..., None]], axis=-1).astype("float32")
    loss = detector.overlap_loss(given, sides.astype("float32"))
    np.testing.assert_allclose(loss, expected / weight.sum((1, 2)).mean(), rtol=1e-4)


def greedy(boxes, kinds, overlap):
    keep = []
    for one in range(len(boxes)):
        if all(
            kinds[one] != kinds[other] or overlaps(boxes[one], boxes[other])[0, 0] <= overlap
            for other in keep
        ):
            keep.append(one)
    return np.isin(np.arange(len(boxes)), keep)


@pytest.mark.parametrize("seed", range(3))
def test_suppression_is_the_greedy_one(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 30, (3, 40, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 25, (3, 40, 2))], -1).astype("float32")
    # A chain in which each would beat the next: every second stays.
    boxes[0] = np.arange(40)[:, None] * [4, 0, 4, 0] + [0, 0, 12, 10]
    kinds = rng.integers(0, 2, (3, 40)).astype("int32")
    kinds[0] = 0
    keep = np.array(detector.suppress(boxes, kinds, 0.4))
    expected = [greedy(*row, 0.4) for row in zip(boxes, kinds, strict=True)]
    np.testing.assert_array_equal(keep == 1, expected)
    assert keep[0].sum() == 20 and 1 < keep[1].sum() < 39


def maps(height=6, width=8, classes=2):
    heat = np.full((1, height, width, classes), -6.0, "float32")
    sides = np.full((1, height, width, 4), 5.0, "float32")
    return heat, sides


def test_boxes_are_where_the_peaks_are():
    heat, sides = maps()
    heat[0, 1, 2, 1] = 3.0
    heat[0, 1, 3, 1] = 2.0  # no peak
    heat[0, 5, 7, 0] = 1.0  # in the corner, its box beyond the picture
    sides[0, 1, 2] = 3, 4, 5, 6
    heat[0, 3, 2, 1] = 0.5  # a peak that overlaps
    sides[0, 3, 2] = 3, 12, 5, 0
    weights = np.eye(2, dtype="float32")[None] + [[[0.0, 1.0], [0.0, 0.0]]]
    size = np.array([[48, 96]], "int32")  # twice as high, three times as wide
    found = detector.detect(
        heat[:, :4], sides[:, :4], size // [[1, 1]], most=5, overlap=0.5,
        weights=weights.astype("float32"),
    )  # fmt: skip
    # The middle of the cell is at (10, 6); in a grid of four rows a picture is 16 pixels high.
    scale = np.array([3, 3, 3, 3])
    np.testing.assert_allclose(found["boxes"][0, 0], [7, 2, 15, 12] * scale, rtol=1e-5)
    scores = np.array(found["scores"])[0]
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-3.0)), rel=1e-5)
    assert np.array(found["classes"])[0, 0] == 1
    assert (scores[1:] < 0.01).all()  # the neighbour and what overlaps are gone
    np.testing.assert_allclose(found["weights"][0, 0], [1, 1])
    assert int(found["count"][0]) == (scores > 0).sum()
    found = detector.detect(heat, sides, np.array([[24, 32]]), most=5, overlap=0.95)
    assert np.array(found["classes"])[0, :3].tolist() == [1, 0, 1]
    np.testing.assert_allclose(found["boxes"][0, 1], [25, 17, 32, 24])  # cut at the sides


def test_sides_are_positive_and_saved():
    layer = detector.Sides(20.0)
    np.testing.assert_allclose(layer(ops.array([0.0, -1.0])), [20, 20 / np.e], rtol=1e-5)
    assert float(layer(ops.array([100.0]))[0]) < 2000
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.typical == 20.0
