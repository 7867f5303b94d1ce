"""A classifier of images in use: what it is given of a photo."""

import numpy as np
import pytest

from recipes.data.images import decode
from recipes.parts.classified import squashed

pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("shape", [(50, 130), (3, 5), (16, 16), (16, 200)])
def test_photos_are_squashed_as_in_training(shape):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), "uint8")
    found = squashed(images, 16).numpy()
    wanted = np.stack([decode(image, 16) for image in images])
    assert np.abs(found - wanted).max() < 1.01  # Pillow rounds twice
