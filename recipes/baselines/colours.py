"""Detection without a network, to compare with: thresholds of colours, and connected regions.

Of each class the colours in the middle of its training boxes give an interval in each of red, green
and blue and in the share of each; the connected pixels within all of them are a thing if their
rectangle is of a size that a training box has. How much of the colours the intervals leave out is
chosen on the validation images, for each class.
"""

import numpy as np

from recipes.parts import average_precision

_CUTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)  # share of the colours left out on each side
_PIXELS = 2_000  # of a box, to learn from
_STEP = 2  # every second pixel along each side is looked at


def thresholds(train, validation, test, labels):
    """What thresholds find.

    Args:
        train, validation, test: `parts.detected.Pictures`.
        labels: List of the names of the classes.

    Returns:
        As `average_precision.measure` takes it, for the test images in their own pixels.
    """
    known = [_learn(train, number) for number in range(len(labels))]
    seen, wanted = (
        [_features(image[::_STEP, ::_STEP]) for image in pictures.images]
        for pictures in (validation, test)
    )
    chosen = []
    for number, one in enumerate(known):
        only = [
            (boxes[kinds == number], np.zeros(int((kinds == number).sum()), int))
            for boxes, kinds in validation.squashed
        ]

        def value(cut, number=number, one=one, only=only):
            if one is None or not sum(len(boxes) for boxes, _ in only):
                return 0.0
            found = [_find(features, one, cut) for features in seen]
            triples = [(boxes, scores, np.zeros(len(boxes), int)) for boxes, scores in found]
            return average_precision.measure(only, triples, [labels[number]])[0]["mAP50"]

        chosen.append(max(_CUTS, key=value))
    height, width = test.images.shape[1:3]
    answers = []
    for features, size in zip(wanted, test.sizes, strict=True):
        rows = [
            (*_find(features, one, cut), number)
            for number, (one, cut) in enumerate(zip(known, chosen, strict=True))
            if one is not None
        ]
        boxes = np.concatenate([boxes for boxes, _, _ in rows])
        answers.append(
            (
                boxes * (np.array([size[1], size[0]] * 2) / [width, height, width, height]),
                np.concatenate([scores for _, scores, _ in rows]),
                np.concatenate([np.full(len(boxes), number) for boxes, _, number in rows]),
            )
        )
    return answers


def _features(image):
    """Red, green and blue, and the share of each in their sum: `(H, W, 6)`."""
    x = image.astype("float32")
    return np.concatenate([x, 255 * x / (x.sum(axis=-1, keepdims=True) + 1)], axis=-1)


def _learn(pictures, number):
    """The sorted colours of a class, and the least, usual and largest sides of its boxes."""
    colours, sides = [], []
    rng = np.random.default_rng(0)
    for image, (boxes, kinds) in zip(pictures.images, pictures.squashed, strict=True):
        for left, top, right, bottom in boxes[kinds == number]:
            sides.append((right - left, bottom - top))
            # The middle half: the corners are not of the thing.
            across, down = (right - left) / 4, (bottom - top) / 4
            part = image[int(top + down) : int(bottom - down) + 1]
            part = part[:, int(left + across) : int(right - across) + 1]
            pixels = _features(part).reshape(-1, 6)
            colours.append(pixels[rng.permutation(len(pixels))[:_PIXELS]])
    if not sides:
        return None
    colours = np.concatenate(colours)
    if not len(colours):
        return None
    return np.sort(colours, axis=0), np.quantile(sides, [0.02, 0.5, 0.98], axis=0)


def _find(features, known, cut):
    """Boxes and scores of one class in an image."""
    from scipy import ndimage

    colours, (least, usual, most) = known
    low, high = np.quantile(colours, [cut, 1 - cut], axis=0)
    regions, _ = ndimage.label(((features >= low) & (features <= high)).all(axis=-1))
    boxes, scores = [], []
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        box = _STEP * np.array([columns.start, rows.start, columns.stop, rows.stop], float)
        size = box[2:] - box[:2]
        if (size < 0.8 * least).any() or (size > 1.25 * most).any():
            continue
        filled = (regions[rows, columns] == number).mean()
        # Full rectangles of the usual size come first.
        boxes.append(box)
        scores.append(filled * np.exp(-np.abs(np.log(size / usual)).sum()))
    return np.array(boxes).reshape(-1, 4), np.array(scores)
