"""Scores of masks, counted by hand."""

import numpy as np
import pytest

from recipes.parts import mask_scores


def square(top, left, size=10, side=30):
    mask = np.zeros((side, side), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def test_dice_and_iou():
    a, b = square(5, 5), square(5, 8)  # 100 pixels each, 70 in common
    assert mask_scores.dice(a, b) == pytest.approx(0.7)
    assert mask_scores.iou(a, b) == pytest.approx(70 / 130)
    nothing = np.zeros_like(a)
    assert mask_scores.dice(nothing, nothing) == mask_scores.iou(nothing, nothing) == 1
    assert mask_scores.dice(a, nothing) == mask_scores.iou(a, nothing) == 0


def test_boundaries_may_be_off_by_the_tolerance():
    a = square(5, 5)
    assert mask_scores.boundary(a).sum() == 36
    assert mask_scores.boundary_f1(a, a) == 1
    assert mask_scores.boundary_f1(a, square(5, 7)) == 1
    b = square(5, 8)
    # Brute force: the distance of each boundary pixel to the other boundary.
    points = [np.argwhere(mask_scores.boundary(x)) for x in (a, b)]
    far = np.hypot(*(points[0][:, None] - points[1]).transpose(2, 0, 1)) > 2
    precision, recall = 1 - far.all(1).mean(), 1 - far.all(0).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert 0 < expected < 1
    assert mask_scores.boundary_f1(a, b) == pytest.approx(expected)
    nothing = np.zeros_like(a)
    assert mask_scores.boundary_f1(nothing, nothing) == 1
    assert mask_scores.boundary_f1(a, nothing) == 0


def test_the_edge_of_the_image_is_no_boundary():
    assert mask_scores.boundary(square(0, 0)).sum() == 19


def test_means_are_over_images_not_pixels():
    small, large = square(0, 0, size=2), square(0, 0, size=20)
    found = mask_scores.measure([np.zeros_like(small), large], [small, large])
    assert found["dice"] == found["iou"] == 0.5
