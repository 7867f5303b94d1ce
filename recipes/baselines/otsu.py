"""Otsu's threshold, to compare a segmentation with: two kinds of brightness, and no learning."""

import numpy as np


def threshold(values):
    """The threshold that parts brightness into the two groups that lie farthest apart.

        t = argmax n_0 n_1 (m_0 - m_1)^2,  of values up to t and above t

    Args:
        values: uint8 array of any shape.

    >>> int(threshold(np.array([10, 11, 12, 200, 201], "uint8")))
    12

    Reference:
        Otsu, 1979, https://doi.org/10.1109/TSMC.1979.4310076
    """
    counts = np.bincount(values.ravel(), minlength=256).astype("float64")
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * np.arange(256)).cumsum()
    means = sums / np.maximum(below, 1), (sums[-1] - sums) / np.maximum(above, 1)
    return (below * above * (means[0] - means[1]) ** 2).argmax()


def segment(image):
    """The mask of an image, uint8 `(H, W, 3)`: of the two groups the one with fewer pixels.

    So it finds bright things on a dark ground as well as dark things on a bright one.
    """
    grey = (image @ np.array([0.299, 0.587, 0.114])).round().astype("uint8")
    mask = grey > threshold(grey)
    return mask if mask.mean() <= 0.5 else ~mask
