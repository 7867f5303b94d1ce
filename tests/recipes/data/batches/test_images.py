"""Batches of images: which images come, and how they are changed."""

import numpy as np
import pytest

from recipes.data.batches import ImageAugmentation, ImageBatches

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (10, 8, 6, 3), dtype="uint8")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


def batches(**options):
    return ImageBatches(IMAGES, LABELS, 3, 4, **options)


def rows_of(images):
    """The number of each image, which has to be there unchanged."""
    return [int(np.flatnonzero((image == IMAGES).all(axis=(1, 2, 3)))[0]) for image in images]


def test_in_order_all_images_come_once():
    found = batches()
    assert len(found) == 3
    rows = [row for batch in found for row in rows_of(batch[0])]
    assert rows == list(range(10))
    images, labels = found[2]
    assert images.dtype == np.uint8 and labels.dtype == np.float32
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_shuffled_batches_are_whole_and_belong_to_seed_and_epoch():
    found = batches(shuffle_seed=3)
    assert len(found) == 2
    first = [rows_of(found[n][0]) for n in range(2)]
    assert len({row for rows in first for row in rows}) == 8
    for images, labels in (found[0], found[1]):
        assert labels.argmax(axis=1).tolist() == LABELS[rows_of(images)].tolist()
    found.on_epoch_end()
    second = [rows_of(found[n][0]) for n in range(2)]
    assert second != first
    resumed = batches(shuffle_seed=3, epoch=1)
    assert [rows_of(resumed[n][0]) for n in range(2)] == second


def test_fewer_images_than_a_batch_make_one():
    found = ImageBatches(IMAGES, LABELS, 3, 16, shuffle_seed=0)
    assert len(found) == 1 and len(found[0][0]) == 10


def test_every_image_is_mirrored_in_every_second_epoch():
    found = batches(shuffle_seed=1, augmentation=ImageAugmentation(mirror=True))
    seen = {}
    for _ in range(4):
        for images, _ in (found[n] for n in range(len(found))):
            for image in images:
                is_plain = (image == IMAGES).all(axis=(1, 2, 3))
                is_mirrored = (image == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
                assert is_plain.sum() + is_mirrored.sum() == 1
                row = int(np.argmax(is_plain | is_mirrored))
                seen.setdefault(row, {})[found._epoch] = bool(is_mirrored.any())
        found.on_epoch_end()
    for of_row in seen.values():
        sides = {epoch % 2: side for epoch, side in of_row.items()}
        assert all(side == sides[epoch % 2] for epoch, side in of_row.items())
        assert len(sides) == 1 or sides[0] != sides[1]
    assert len({of_row.get(0) for of_row in seen.values()} - {None}) == 2  # not all begin alike


def test_shifted_images_are_reflected_at_the_border():
    image = np.arange(5, dtype="uint8")[None, None, :, None] * np.ones((1, 5, 1, 3), "uint8")
    change, found = ImageAugmentation(shift=1), set()
    for seed in range(20):
        out = change(image, np.zeros(1, bool), np.random.default_rng(seed))
        found.add(tuple(out[0, 0, :, 0].tolist()))
    assert found == {(0, 1, 2, 3, 4), (1, 0, 1, 2, 3), (1, 2, 3, 4, 3)}


@pytest.mark.parametrize("seed", range(5))
def test_cutout_gives_a_square_the_mean_colour(seed):
    images = np.where(np.indices((9, 9)).sum(axis=0) % 2, 255, 1).astype("uint8")
    images = np.repeat(images[None, ..., None], 3, axis=-1)
    out = ImageAugmentation(cutout=3)(images, np.zeros(1, bool), np.random.default_rng(seed))
    changed = np.argwhere((out != images).all(axis=-1)[0])
    assert set(out[out != images]) == {126}  # 40 of 81 are 255
    assert (np.ptp(changed, axis=0) < 3).all() and 4 <= len(changed) <= 9
    assert images.max() == 255  # the images themselves stay
