"""Otsu's threshold."""

import numpy as np

from recipes.baselines import otsu


def test_the_threshold_has_the_largest_variance_between_groups():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(60, 10, 900), rng.normal(150, 20, 200)])
    values = values.clip(0, 255).astype("uint8")

    def between(t):
        below, above = values[values <= t], values[values > t]
        if not len(below) or not len(above):
            return 0.0
        return len(below) * len(above) * (below.mean() - above.mean()) ** 2

    assert otsu.threshold(values) == max(range(256), key=between)


def test_the_smaller_group_is_foreground_bright_or_dark():
    image = np.full((10, 10, 3), 30, "uint8")
    image[2:5, 3:7] = 220
    wanted = image[..., 0] > 100
    np.testing.assert_array_equal(otsu.segment(image), wanted)
    np.testing.assert_array_equal(otsu.segment(255 - image), wanted)
    assert otsu.segment(np.full((4, 4, 3), 9, "uint8")).sum() == 0
