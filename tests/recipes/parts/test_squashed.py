"""Pictures of a detector and their boxes."""

import numpy as np
import pytest

from recipes.data import boxes
from recipes.kit.errors import UserError
from recipes.parts import squashed

pytest.importorskip("PIL.Image")


def test_boxes_are_squashed_with_their_pictures(monkeypatch):
    data = boxes.load("toy", seed=0, limit=4)
    pictures, same = squashed.prepare(data, 32, 192)  # half as high and twice as wide
    assert same is data and pictures["test"].images.shape == (4, 32, 192, 3)
    for (before, _), (after, _) in zip(
        pictures["test"].truths, pictures["test"].squashed, strict=True
    ):
        np.testing.assert_allclose(after, before * [2, 0.5, 2, 0.5])
    monkeypatch.setattr(squashed, "_MOST_BYTES", 10 * 32 * 192 * 3)
    with pytest.raises(UserError, match="12 images of 192 x 32 pixels take .* or --limit"):
        squashed.prepare(data, 32, 192)
