"""Batches of captions: each with its image, of equal size, alike for a seed and an epoch."""

import numpy as np
import pytest

from recipes.data.caption_batches import CaptionBatches

# Image n is the number n; its captions are n + 10 in all places, of several lengths.
SEEN = np.arange(7, dtype="float16")[:, None]
CAPTIONS = [[np.full(length, 10 + n, "int32") for length in (3 + n, 6, 11)] for n in range(7)]


def collect(batches):
    return [batches[index] for index in range(len(batches))]


def pairs(found):
    return [
        (float(image[0]), row[row > 0].tolist())
        for inputs, _ in found
        for image, row in zip(inputs["features"], inputs["words"], strict=True)
        if row.any()
    ]


@pytest.mark.parametrize("seed", [None, 3])
def test_every_caption_once_with_its_image(seed):
    found = collect(CaptionBatches(SEEN, CAPTIONS, 4, name="features", shuffle_seed=seed))
    assert len(found) == 6  # 21 captions
    for inputs, labels in found:
        assert inputs["features"].shape == (4, 1) and inputs["features"].dtype == "float16"
        assert inputs["words"].shape[0] == 4 and inputs["words"].shape[1] % 4 == 1
        np.testing.assert_array_equal(labels, inputs["words"][:, 1:])
    seen = pairs(found)
    assert len(seen) == 21
    assert all(set(words) == {10 + image} for image, words in seen)
    assert sorted(len(words) for _, words in seen) == sorted(
        len(caption) for some in CAPTIONS for caption in some
    )


def test_lengths_are_alike_within_a_batch_and_differ_in_the_first_two():
    found = collect(CaptionBatches(SEEN, CAPTIONS, 4, name="features", shuffle_seed=0))
    widths = [inputs["words"].shape[1] for inputs, _ in found]
    assert set(widths) == {9, 13}
    assert widths[0] != widths[1]
    for inputs, _ in found:
        longest = max((row > 0).sum() for row in inputs["words"])
        assert inputs["words"].shape[1] - 4 < longest <= inputs["words"].shape[1]


def test_order_follows_from_seed_and_epoch():
    first, again = (
        CaptionBatches(SEEN, CAPTIONS, 4, name="features", shuffle_seed=1) for _ in range(2)
    )
    assert pairs(collect(first)) == pairs(collect(again))
    before = pairs(collect(first))
    first.on_epoch_end()
    assert pairs(collect(first)) != before
    resumed = CaptionBatches(SEEN, CAPTIONS, 4, name="features", shuffle_seed=1, epoch=1)
    assert pairs(collect(resumed)) == pairs(collect(first))


def test_without_a_seed_the_order_stays():
    batches = CaptionBatches(SEEN, CAPTIONS, 4, name="features")
    before = pairs(collect(batches))
    batches.on_epoch_end()
    assert pairs(collect(batches)) == before


def test_mirror_images_come_with_their_own_captions():
    mirrored = -SEEN - 1, [[caption + 50 for caption in some] for some in CAPTIONS]
    batches = CaptionBatches(SEEN, CAPTIONS, 4, name="features", shuffle_seed=1, mirrored=mirrored)
    seen = pairs(collect(batches))
    assert len(seen) == 21
    assert 3 < sum(image < 0 for image, _ in seen) < 18
    for image, words in seen:
        assert set(words) == {10 + image if image >= 0 else 60 - image - 1}
    batches.on_epoch_end()
    again = pairs(collect(batches))
    assert sorted(map(str, again)) != sorted(map(str, seen))
