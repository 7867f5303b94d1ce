"""Batches of captions with their images."""

import numpy as np
import pytest

from recipes.data.batches import CaptionBatches
from tests.recipes.data.batches.examples import CAPTIONS, CLASSES, IMAGES, collect


def captions_of(batches):
    """Pairs of an image's number and the words of a caption."""
    return [
        (float(image[0]), row[row > 0].tolist())
        for inputs, _ in batches
        for image, row in zip(inputs["features"], inputs["words"], strict=True)
        if row.any()
    ]


@pytest.mark.parametrize("seed", [None, 3])
def test_every_caption_once_with_its_image(seed):
    batches = collect(CaptionBatches(IMAGES, CAPTIONS, 4, name="features", shuffle_seed=seed))
    assert len(batches) == 6  # 21 captions
    for inputs, labels in batches:
        assert inputs["features"].shape == (4, 1) and inputs["features"].dtype == "float16"
        assert inputs["words"].shape[0] == 4 and inputs["words"].shape[1] % 4 == 1
        np.testing.assert_array_equal(labels, inputs["words"][:, 1:])
    pairs = captions_of(batches)
    assert len(pairs) == 21
    assert all(set(words) == {10 + image} for image, words in pairs)
    assert sorted(len(words) for _, words in pairs) == sorted(
        len(caption) for captions in CAPTIONS for caption in captions
    )


def test_lengths_are_alike_within_a_batch_and_differ_in_the_first_two():
    batches = collect(CaptionBatches(IMAGES, CAPTIONS, 4, name="features", shuffle_seed=0))
    widths = [inputs["words"].shape[1] for inputs, _ in batches]
    assert set(widths) == {9, 13}
    assert widths[0] != widths[1]
    for inputs, _ in batches:
        longest = max((row > 0).sum() for row in inputs["words"])
        assert inputs["words"].shape[1] - 4 < longest <= inputs["words"].shape[1]


def test_mirror_images_come_with_their_own_captions():
    batches = CLASSES["mirrored captions"](shuffle_seed=1)
    pairs = captions_of(collect(batches))
    assert len(pairs) == 21
    assert 3 < sum(image < 0 for image, _ in pairs) < 18
    for image, words in pairs:
        assert set(words) == {10 + image if image >= 0 else 60 - image - 1}
    batches.on_epoch_end()
    again = captions_of(collect(batches))
    assert sorted(map(str, again)) != sorted(map(str, pairs))


def test_mirror_images_are_drawn_in_training_alone():
    pairs = captions_of(collect(CLASSES["mirrored captions"](shuffle_seed=None)))
    assert all(image >= 0 for image, _ in pairs)
