"""Toy slides: cells and dirt look alike, and the tissue decides."""

import numpy as np

from recipes.data.toy import cells


def test_the_same_slides_always_and_no_slide_twice():
    splits, again = cells.splits(), cells.splits()
    assert [len(split) for split in splits] == [160, 24, 60]
    np.testing.assert_array_equal(splits[2][5].image, again[2][5].image)
    assert len({slide.image.tobytes() for split in splits for slide in split}) == 244


def test_cells_lie_on_the_tissue_and_dirt_beside_it():
    slides = cells.splits()[2]
    for slide in slides:
        assert slide.mask.any() and slide.dirt.any()
        assert not (slide.mask & ~slide.region).any() and not (slide.dirt & slide.region).any()
    on_tissue = np.concatenate([slide.image[slide.mask] for slide in slides]).astype(float)
    beside = np.concatenate([slide.image[slide.dirt] for slide in slides]).astype(float)
    # Their pixels are alike: of the same mean, within what noise gives, and deviation.
    assert abs(on_tissue.mean() - beside.mean()) < 0.5
    assert abs(on_tissue.std() - beside.std()) < 0.5
    sizes = [np.mean([getattr(s, kind).sum() for s in slides]) for kind in ("mask", "dirt")]
    assert 0.6 < sizes[0] / sizes[1] < 1.4
