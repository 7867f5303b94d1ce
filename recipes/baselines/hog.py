"""Ridge regression on gradients and colours, what a network that sees should beat."""

import numpy as np

from recipes.kit import classes

_CELLS = 8  # along each side
_COLOUR_CELLS = 4
_DIRECTIONS = 9  # of gradients, between 0 and 180 degrees
_LEVELS = 8  # of each channel, in the histogram of colours
_ROWS = 2000  # images at once
_STRENGTH = 100.0  # of the penalty on the regression's weights


def features(images):
    """Histograms of oriented gradients, mean colours and histograms of colours.

    A gradient votes for the two directions nearest to its own, with its length. Histograms of 2 x 2
    neighbouring cells are scaled to unit length together (Dalal & Triggs, 2005, section 6,
    https://doi.org/10.1109/CVPR.2005.177). The grid has as many cells for images of any size.

    Args:
        images: uint8 `(N, size, size, 3)`, of 8 pixels or more.

    Returns:
        float32 `(N, F)`.
    """
    blocks = [images[start : start + _ROWS] for start in range(0, len(images), _ROWS)]
    return np.concatenate([_features(block) for block in blocks])


def _features(images):
    pixels = images.astype("float32") / 255
    parts = [_gradients(pixels), _cells(pixels, _COLOUR_CELLS)]
    level = np.minimum(images // (256 // _LEVELS), _LEVELS - 1)
    parts.append((level[..., None] == np.arange(_LEVELS)).mean(axis=(1, 2), dtype="float32"))
    return np.concatenate([part.reshape(len(images), -1) for part in parts], axis=1)


def _gradients(pixels):
    """Histograms of gradients in blocks of cells, `(N, 7, 7, 36)`."""
    down, across = np.gradient(pixels, axis=(1, 2))
    length = np.hypot(down, across)
    strongest = length.argmax(axis=-1)[..., None]  # the channel that counts
    down, across, length = (
        np.take_along_axis(x, strongest, axis=-1)[..., 0] for x in (down, across, length)
    )
    place = np.arctan2(down, across) / np.pi * _DIRECTIONS % _DIRECTIONS
    # To a direction as much as it is near: 1 at its own angle, 0 from the next on.
    apart = np.abs(place[..., None] - np.arange(_DIRECTIONS))
    apart = np.minimum(apart, _DIRECTIONS - apart)
    votes = np.maximum(0.0, 1.0 - apart) * length[..., None]
    cells = _cells(votes.astype("float32"), _CELLS)  # (N, 8, 8, 9)
    blocks = np.concatenate(
        [cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:]], axis=-1
    )
    return blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + 1e-4)


def _cells(values, count):
    """The mean of values `(N, H, W, F)` in each cell of a grid, `(N, count, count, F)`."""
    for axis in (1, 2):
        size = values.shape[axis]
        starts = np.arange(count) * size // count
        sizes = np.diff([*starts, size]).reshape([-1 if one == axis else 1 for one in range(4)])
        values = np.add.reduceat(values, starts, axis=axis) / sizes.astype("float32")
    return values


def ridge(images, data):
    """Accuracy and macro F1 of ridge regression on the test images.

    It has no use for a validation split, so it learns from that as well.

    Args:
        images: Dict from the name of a split to uint8 `(N, size, size, 3)`.
        data: `recipes.data.labelled_images.LabelledImages`.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen = np.concatenate([features(images[part]) for part in ("train", "validation")])
    labels = np.concatenate([data.train.labels, data.validation.labels])
    model = make_pipeline(StandardScaler(), RidgeClassifier(_STRENGTH)).fit(seen, labels)
    found = model.predict(features(images["test"]))
    return {
        "accuracy": float(np.mean(found == data.test.labels)),
        "macro_f1": classes.macro_f1(data.test.labels, found),
    }
