"""Random crops: masks follow their images, and the same for the same seed and epoch."""

import numpy as np

from recipes.data.batches import CropAugmentation, CropBatches
from recipes.data.images import statistics

RNG = np.random.default_rng(0)


def example(rows, columns):
    """An image that is bright exactly where its mask is."""
    mask = np.kron(RNG.random((rows // 4, columns // 4)) < 0.4, np.ones((4, 4))) > 0
    return np.repeat((mask * np.uint8(200))[..., None], 3, axis=2), mask


SIZES = ((40, 24), (24, 24), (32, 48), (12, 60), (24, 28))
IMAGES, MASKS = zip(*(example(*size) for size in SIZES), strict=True)
ALL = CropAugmentation(turn=True, contrast=0.3, brightness=0.3, colour=0.1)


def make(batch_size=2, **options):
    return CropBatches(IMAGES, MASKS, batch_size, side=16, **options)


def test_batches_are_full_and_of_one_size():
    batches = make(crops=3, shuffle_seed=0)
    assert len(batches) == 7  # of 15 crops
    for pixels, masks in (batches[index] for index in range(7)):
        assert pixels.shape == (2, 16, 16, 3) and pixels.dtype == np.float32
        assert masks.shape == (2, 16, 16) and masks.dtype == np.float32
    assert len(make(batch_size=100)) == 1 and len(make(batch_size=100)[0][0]) == 5


def test_the_mask_follows_the_image_however_it_is_turned():
    batches = make(crops=4, shuffle_seed=0, augmentation=ALL)
    for pixels, masks in (batches[index] for index in range(len(batches))):
        for one, mask in zip(pixels, masks > 0, strict=True):
            if mask.any() and not mask.all():
                assert one[mask].min(axis=0).min() > one[~mask].max()
    zoomed = make(crops=4, shuffle_seed=0, augmentation=CropAugmentation(zoom=0.5))
    for pixels, masks in (zoomed[index] for index in range(len(zoomed))):
        for one, mask in zip(pixels[..., 0], masks > 0, strict=True):
            if mask.any() and not mask.all():
                assert one[mask].min() >= one[~mask].max() - 0.5  # a pixel on the edge


def test_light_and_dark_are_exchanged():
    batches = make(shuffle_seed=0, augmentation=CropAugmentation(invert=1.0))
    plain = make(shuffle_seed=0)
    for index in range(len(batches)):
        np.testing.assert_allclose(batches[index][0], -plain[index][0], rtol=1e-5)


def test_pixels_count_from_the_mean_of_their_whole_image():
    pixels, _ = make(batch_size=1)[1]
    mean, deviation = statistics(IMAGES[1])
    values = {round(float(v), 4) for v in np.unique(pixels)}
    assert values <= {round(float((v - mean) / deviation), 4) for v in (0, 200)}
    assert statistics(np.full((2, 2, 3), 7, "uint8")) == (7, 1)  # no division by zero


def test_the_same_seed_gives_the_same_crops_also_later():
    first, again = (make(shuffle_seed=3, augmentation=ALL) for _ in range(2))
    np.testing.assert_array_equal(first[1][0], again[1][0])
    first.on_epoch_end()
    assert not np.array_equal(first[1][0], again[1][0])
    later = make(shuffle_seed=3, augmentation=ALL, epoch=1)
    np.testing.assert_array_equal(first[1][0], later[1][0])


def test_small_images_are_mirrored_at_their_edge():
    batches = CropBatches(IMAGES[1:2], MASKS[1:2], 1, side=32)
    _, (mask,) = batches[0]
    np.testing.assert_array_equal(mask[24:], mask[16:24][::-1])
