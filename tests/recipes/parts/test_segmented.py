"""A segmentation network in use, without one."""

import numpy as np
import pytest

from recipes.parts.segmented import Found, at_scale

pytest.importorskip("PIL.Image")


def test_images_are_marked_at_the_scale_of_training():
    shapes = []

    def read(image):
        shapes.append(image.shape)
        return Found(image[..., 0] / 255, {})

    image = np.zeros((40, 80, 3), "uint8")
    image[:, 40:] = 255
    for longest_side, shape in ((20, (10, 20, 3)), (80, (40, 80, 3)), (None, (40, 80, 3))):
        found = at_scale(read, image, longest_side)
        assert shapes.pop() == shape
        assert (found.mask == (image[..., 0] > 0)).all()
