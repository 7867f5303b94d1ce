"""Batches of pictures, altered at random to train with, and what the detector is to say of them."""

import dataclasses

import numpy as np

from recipes.data.batches import Batches
from recipes.parts.detector import STRIDE

_SPREAD = 0.54  # of a box, that its cells fill: TTFNet's alpha and beta
_VISIBLE = 0.3  # the share of a box that has to be left when a picture is cut


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How pictures are altered; nothing by default.

    Attributes:
        mirror: String: `"none"`; `"sides"`, left and right are swapped in every second picture; or
            `"both"`, so are top and bottom.
        zoom: Float in `[0, 1)`: a picture is made larger or smaller by up to this share, and
            moved as far as it goes.
        stretch: Float in `[0, 1)`, the share by which width and height differ in that, at most.
        colour: Float in `[0, 1)`, the share by which brightness, contrast, saturation and each of
            red, green and blue change at most.
    """

    mirror: str = "none"
    zoom: float = 0.0
    stretch: float = 0.0
    colour: float = 0.0

    def __call__(self, image, boxes, rng):
        """An altered picture uint8 `(H, W, 3)`, its boxes `(n, 4)`, and which boxes are kept."""
        kept = np.arange(len(boxes))
        if self.zoom or self.stretch:
            image, boxes, kept = self._zoomed(image, boxes, rng)
        height, width = image.shape[:2]
        left, top, right, bottom = boxes.T
        if self.mirror != "none" and rng.random() < 0.5:
            image, left, right = image[:, ::-1], width - right, width - left
        if self.mirror == "both" and rng.random() < 0.5:
            image, top, bottom = image[::-1], height - bottom, height - top
        boxes = np.stack([left, top, right, bottom], axis=1)
        if self.colour:
            image = self._coloured(image, rng)
        return image, boxes, kept

    def _zoomed(self, image, boxes, rng):
        from PIL import Image

        height, width = image.shape[:2]
        scale = np.exp(rng.uniform(-1, 1) * np.log1p(self.zoom))
        ratio = np.exp(rng.uniform(-0.5, 0.5) * np.log1p(self.stretch))
        across, down = scale * ratio, scale / ratio
        left, top = (
            rng.uniform(min(0, room), max(0, room))
            for room in (width * (1 - across), height * (1 - down))
        )
        mean = tuple(int(value) for value in image.reshape(-1, 3).mean(axis=0))
        image = np.asarray(
            Image.fromarray(image).transform(
                (width, height), Image.Transform.AFFINE,
                (1 / across, 0, -left / across, 0, 1 / down, -top / down),
                Image.Resampling.BILINEAR, fillcolor=mean,
            )
        )  # fmt: skip
        moved = boxes * [across, down, across, down] + [left, top, left, top]
        cut = np.clip(moved, 0, [width, height, width, height])
        before, after = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (moved, cut))
        kept = np.flatnonzero((after > _VISIBLE * before) & (after > 4))
        return image, cut[kept], kept

    def _coloured(self, image, rng):
        bright, contrast, saturation = 1 + rng.uniform(-self.colour, self.colour, 3)
        gains = bright * (1 + rng.uniform(-self.colour, self.colour, 3) / 2)
        x = image.astype("float32")
        grey = x.mean(axis=-1, keepdims=True)
        x = grey + saturation * (x - grey)
        mean = x.mean()
        x = (mean + contrast * (x - mean)) * gains.astype("float32")
        return np.clip(x, 0, 255).astype("uint8")


def targets(boxes, classes, height, width, count):
    """What the detector is to say of a picture.

    Around the middle of each box lies a Gaussian that fills about half of it; where those of one
    class meet, the larger counts. In its cells the distances to the sides of the box are learned,
    with weights that sum to one for each box; where boxes meet, those of the smallest.

    Args:
        boxes: Floats `(n, 4)`, in pixels of a picture of `height` and `width`.
        classes: Integers `(n,)`.
        height, width, count: Integers, of the picture, and the number of classes.

    Returns:
        `heat`, float32 `(height / 4, width / 4, count)`, 1 in the cell of a middle; and `boxes`,
        float32 `(height / 4, width / 4, 5)`, as `detector.overlap_loss` takes them.

    Reference:
        Liu et al., 2020 (TTFNet), sections 3.2 and 3.3, https://arxiv.org/abs/1909.00700
        All boxes weigh alike; in the paper the logarithm of their area weighs them.
    """
    rows, columns = height // STRIDE, width // STRIDE
    heat = np.zeros((rows, columns, count), "float32")
    learned = np.zeros((rows, columns, 5), "float32")
    y, x = STRIDE * (np.arange(rows) + 0.5), STRIDE * (np.arange(columns) + 0.5)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    owner = np.full((rows, columns), -1)
    for number in np.argsort(-areas, kind="stable"):
        left, top, right, bottom = boxes[number]
        row = min(int((top + bottom) / 2 / STRIDE), rows - 1)
        column = min(int((left + right) / 2 / STRIDE), columns - 1)
        spread = (
            np.maximum(_SPREAD * size / 6, STRIDE / 6) for size in (right - left, bottom - top)
        )
        across, down = (
            np.exp(-np.square((places - places[middle]) / deviation) / 2)
            for places, middle, deviation in zip((x, y), (column, row), spread, strict=True)
        )
        bump = down[:, None] * across
        bump[bump < np.exp(-4.5)] = 0  # three deviations away
        of_class = heat[..., classes[number]]
        np.maximum(of_class, bump, out=of_class)
        inside = bump > 0
        owner[inside] = number
        sides = np.broadcast_arrays(x - left, (y - top)[:, None], right - x, (bottom - y)[:, None])
        learned[inside, :4] = np.stack(sides, axis=-1)[inside]
        learned[inside, 4] = bump[inside]
    for number in range(len(boxes)):
        mine = owner == number
        learned[mine, 4] /= max(learned[mine, 4].sum(), 1e-6)
    return heat, learned


class BoxBatches(Batches):
    """Pictures and targets, all batches of one size: where rows are missing the first come again.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        truths: List of pairs, as `average_precision.measure` takes them, in pixels of these
            images.
        count: Integer, the number of classes.
        batch_size: Integer B.
        augmentation: `Augmentation`.
        **options: As for `Batches`.

    Each batch is `(images, {"heat": ..., "sides": ...})`, see `targets`.
    """

    def __init__(self, images, truths, count, batch_size, *, augmentation, **options):
        self._images, self._truths, self._count = images, truths, count
        self._augmentation = augmentation
        size = min(batch_size, len(images))
        super().__init__(np.zeros(len(images), int), size, **options)

    def _arrays(self, rows, width):
        rows = np.resize(rows, self._batch_size)
        rng = np.random.default_rng((self._seed, self._epoch, *map(int, rows[:2])))
        height, width = self._images.shape[1:3]
        images, heats, sides = [], [], []
        for row in rows:
            boxes, classes = self._truths[row]
            image, boxes, kept = self._augmentation(self._images[row], boxes, rng)
            heat, learned = targets(boxes, classes[kept], height, width, self._count)
            images.append(image)
            heats.append(heat)
            sides.append(learned)
        return np.stack(images), {"heat": np.stack(heats), "sides": np.stack(sides)}

    def _part_first_two(self, batches):
        pass  # all are of one size
