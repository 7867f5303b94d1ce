"""Images as pages resize them, against Pillow."""

import numpy as np
import pytest

from recipes.data.images import decode
from tests.recipes.web.node import in_node

RESIZE = """
import {resize} from "./images.js";
made = given.map(({image, size}) => Array.from(resize(image, size)));
"""


def test_a_square_is_that_of_pillow(tmp_path):
    pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    # Larger, smaller and equal along each side: height, width, side of the square.
    sizes = [(53, 31, 17), (31, 53, 17), (7, 90, 20), (20, 31, 20), (3, 20, 20), (1, 1, 16)]
    given, expected = [], []
    for height, width, size in sizes:
        rgba = rng.integers(0, 256, (height, width, 4), dtype="uint8")
        image = {"height": height, "width": width, "pixels": rgba.ravel().tolist()}
        given.append({"image": image, "size": size})
        expected.append(decode(rgba[..., :3], size).astype(int))
    made = [
        np.reshape(row, x.shape)
        for row, x in zip(in_node(tmp_path, RESIZE, given), expected, strict=True)
    ]
    for (height, width, size), found, square in zip(sizes, made, expected, strict=True):
        # With two axes to resize, Pillow chooses the first, and a byte is rounded between them.
        np.testing.assert_allclose(found, square, atol=int(size not in (height, width)))
