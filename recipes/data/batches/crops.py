"""Random crops of images with their masks, turned, zoomed and recoloured to train with."""

import dataclasses

import numpy as np

from recipes.data.batches.base import Batches
from recipes.data.images import statistics


@dataclasses.dataclass(frozen=True)
class CropAugmentation:
    """How crops are altered; nothing by default.

    Attributes:
        turn: Whether crops are mirrored and turned by right angles.
        zoom: Float in `[0, 1)`, by which share they are enlarged or shrunk at most.
        contrast, brightness: Floats, by which share of the image's deviation values are stretched
            and shifted at most.
        colour: Float, the same for each channel alone.
        invert: Float in `[0, 1]`, the share of crops whose light and dark are exchanged.
    """

    turn: bool = False
    zoom: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    colour: float = 0.0
    invert: float = 0.0

    def __call__(self, pixels, mask, rng):
        """Altered pixels `(S, S, 3)`, of mean 0 and deviation 1 over the image, and mask."""
        if self.turn:
            quarters, is_mirrored = rng.integers(4), rng.integers(2)
            pixels, mask = np.rot90(pixels, quarters), np.rot90(mask, quarters)
            if is_mirrored:
                pixels, mask = pixels[:, ::-1], mask[:, ::-1]
        stretch = 1 + rng.uniform(-self.contrast, self.contrast)
        stretch = stretch * (1 + rng.uniform(-self.colour, self.colour, 3))
        shift = rng.uniform(-self.brightness, self.brightness)
        shift = shift + rng.uniform(-self.colour, self.colour, 3)
        if rng.random() < self.invert:
            stretch = -stretch
        return (pixels * stretch + shift).astype("float32"), mask


class CropBatches(Batches):
    """Square crops at random places, in full batches.

    Args:
        images: List of uint8 arrays `(H, W, 3)`.
        masks: List of boolean arrays `(H, W)`.
        batch_size: Integer B; fewer where there are fewer crops.
        side: Integer S, pixels along each side. Smaller images are mirrored at their edges.
        crops: Integer, crops of each image in an epoch.
        augmentation: `CropAugmentation`, or `None`.
        **options: As for `Batches`.

    Each batch is pixels `(B, S, S, 3)`, in deviations from the mean of their image, and float32
    masks `(B, S, S)`.
    """

    def __init__(self, images, masks, batch_size, *, side, crops=1, augmentation=None, **options):
        self._images, self._masks, self._side = images, masks, side
        self._statistics = [statistics(image) for image in images]
        self._crops, self._augmentation = crops, augmentation or CropAugmentation()
        count = len(images) * crops
        super().__init__(np.ones(count), min(batch_size, count), **options)

    def _cut(self, rows):
        full = len(rows) // self._batch_size * self._batch_size
        return super()._cut(rows[:full])

    def _part_first_two(self, batches):
        pass  # all crops are of one size

    def _arrays(self, rows, width):
        rng = np.random.default_rng((self._seed or 0, self._epoch, *map(int, rows[:2])))
        crops = [self._crop(row // self._crops, rng) for row in rows]
        pixels, masks = zip(*crops, strict=True)
        return np.stack(pixels), np.stack(masks).astype("float32")

    def _crop(self, row, rng):
        image, mask = self._images[row], self._masks[row]
        zoom = self._augmentation.zoom
        size = max(1, round(self._side / (1 + zoom) ** rng.uniform(-1, 1)))
        if min(mask.shape) < size:
            missing = [(0, max(0, size - length)) for length in mask.shape]
            image = np.pad(image, [*missing, (0, 0)], "symmetric")
            mask = np.pad(mask, missing, "symmetric")
        top, left = (rng.integers(0, length - size + 1) for length in mask.shape)
        image = image[top : top + size, left : left + size]
        mask = mask[top : top + size, left : left + size]
        if size != self._side:
            image, mask = _resized(image, self._side), _resized(mask * np.uint8(255), self._side)
            mask = mask > 127
        mean, deviation = self._statistics[row]
        return self._augmentation((image - mean) / deviation, mask, rng)


def _resized(image, side):
    from PIL import Image

    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized)
