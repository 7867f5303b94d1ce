"""Pictures altered at random, and what is to be said of them."""

import dataclasses

import numpy as np
import pytest

from recipes.parts.box_batches import Augmentation, BoxBatches, targets
from recipes.parts.detector import STRIDE

pytest.importorskip("PIL.Image")
SOME = Augmentation(mirror="both", zoom=0.3, stretch=0.2, colour=0.2)


def picture(boxes, height=64, width=96):
    """Black, with white boxes."""
    image = np.zeros((height, width, 3), "uint8")
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    return image


@pytest.mark.parametrize(
    "only", [{"mirror": "sides"}, {"mirror": "both"}, {"zoom": 0.4}, {"zoom": 0.2, "stretch": 0.3}]
)
def test_boxes_move_with_what_they_are_around(only):
    alter, rng = Augmentation(**only), np.random.default_rng(0)
    image = picture([(40, 20, 60, 50)])
    seen = set()
    for _ in range(20):
        altered, boxes, kept = alter(image, np.array([[40.0, 20, 60, 50]]), rng)
        assert altered.shape == image.shape and altered.dtype == np.uint8
        if not len(kept):
            continue
        rows, columns = np.nonzero(altered[..., 0] > 127)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(boxes[0], expected, atol=1.01)
        seen.add(tuple(expected))
    assert len(seen) == {"sides": 2, "both": 4}.get(alter.mirror, len(seen)) and len(seen) > 1


def test_what_is_cut_off_has_no_box():
    alter, rng = Augmentation(zoom=0.9), np.random.default_rng(0)
    boxes = np.array([[0.0, 0, 20, 16], [76, 48, 96, 64]])
    counts = set()
    for _ in range(60):
        _, after, kept = alter(picture(boxes.astype(int)), boxes, rng)
        counts.add(len(kept))
        assert (after[:, :2] >= 0).all() and (after[:, 2:] <= [96, 64]).all()
        assert (after[:, 2:] > after[:, :2]).all()
    assert {1, 2} <= counts


def test_colours_change_and_nothing_else():
    image = np.full((8, 8, 3), (200, 100, 50), "uint8")
    box = np.array([[1.0, 2, 5, 6]])
    altered, boxes, kept = Augmentation(colour=0.3)(image, box, np.random.default_rng(0))
    assert (boxes == box).all() and kept.tolist() == [0]
    assert 5 < abs(altered.astype(int) - image).max() < 130
    same, _, _ = Augmentation()(image, box, np.random.default_rng(0))
    assert (same == image).all()


def test_targets_are_largest_in_the_middles():
    boxes = np.array([[8.0, 8, 40, 24], [30, 30, 38, 40], [20, 8, 44, 24]])
    heat, learned = targets(boxes, np.array([0, 1, 0]), 64, 96, 3)
    assert heat.shape == (16, 24, 3) and learned.shape == (16, 24, 5)
    middles = [(4, 6), (8, 8), (4, 8)]
    assert [heat[row, column, kind] for (row, column), kind in zip(middles, (0, 1, 0), strict=True)]
    assert np.argwhere(heat == 1).tolist() == [[4, 6, 0], [4, 8, 0], [8, 8, 1]]
    assert not heat[..., 2].any()
    # Along each side three deviations of 0.54 of a sixth of it: 8.64 pixels, so two cells.
    assert heat[4, 4, 0] > 0 and heat[4, 3, 0] == 0
    assert heat[4, 5, 0] == pytest.approx(np.exp(-((STRIDE / (0.54 * 32 / 6)) ** 2) / 2), rel=1e-5)
    # Distances from the middle of the cell, which lies at (26, 18).
    np.testing.assert_allclose(learned[4, 6, :4], [26 - 8, 18 - 8, 40 - 26, 24 - 18])
    # Where both boxes of a class reach, the smaller is learned.
    np.testing.assert_allclose(learned[4, 7, :4], [30 - 20, 18 - 8, 44 - 30, 24 - 18])
    assert learned[..., 4].sum() == pytest.approx(3, rel=1e-5)


def test_small_and_cut_boxes_have_a_middle():
    boxes = np.array([[0.0, 0, 1, 1], [95, 63, 96, 64]])
    heat, learned = targets(boxes, np.array([0, 0]), 64, 96, 1)
    assert heat[0, 0, 0] == heat[15, 23, 0] == 1
    assert learned[0, 0, 4] == learned[15, 23, 4] == 1


def batches(epoch=0, seed=3, augmentation=SOME):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (5, 64, 96, 3)).astype("uint8")
    truths = [(np.array([[10.0, 10, 50, 40]]), np.array([n % 2])) for n in range(4)]
    truths.append((np.zeros((0, 4)), np.zeros(0, int)))  # a picture without boxes
    return BoxBatches(
        images, truths, 2, 2, augmentation=augmentation, shuffle_seed=seed, epoch=epoch
    )


def test_batches_are_alike_for_a_seed_and_an_epoch():
    first, again, later = batches(), batches(), batches(epoch=1)
    first.on_epoch_end()
    assert len(first) == 3
    for index in range(3):
        (images, wanted), (others, same) = first[index], later[index]
        assert images.shape == (2, 64, 96, 3)
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(wanted["sides"], same["sides"])
    assert any((first[index][0] != again[index][0]).any() for index in range(3))


def test_a_picture_without_boxes_asks_for_nothing():
    all_of = [batches(augmentation=dataclasses.replace(SOME, zoom=0.0))[i] for i in range(3)]
    middles = [int((heat == 1).sum()) for _, wanted in all_of for heat in wanted["heat"]]
    assert sorted(middles)[:2] in ([0, 1], [0, 0]) and max(middles) == 1
