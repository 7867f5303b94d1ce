"""Batches of labelled images, changed a little each time they are seen."""

import dataclasses

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageAugmentation:
    """How training images are changed.

    Attributes:
        shift: Integer, an image is moved by up to so many pixels each way; what is missing at the
            border is reflected.
        mirror: Whether an image is mirrored in every second epoch. Which of the two begins is
            drawn for each (Jordan, 2024, section 3.6, https://arxiv.org/abs/2404.00498).
        cutout: Integer, the side of a square that gets the image's mean colour, at a place drawn
            for each (DeVries & Taylor, 2017, https://arxiv.org/abs/1708.04552); 0 for none.
    """

    shift: int = 0
    mirror: bool = False
    cutout: int = 0

    def __call__(self, images, mirrored, rng):
        """Changed copies of images `(B, H, W, 3)`; `mirrored` `(B,)` says which are mirrored."""
        count, height, width, _ = images.shape
        out = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        if self.shift:
            border = (self.shift, self.shift)
            padded = np.pad(out, ((0, 0), border, border, (0, 0)), mode="reflect")
            corners = rng.integers(2 * self.shift + 1, size=(count, 2))
            out = np.stack(
                [
                    image[top : top + height, left : left + width]
                    for image, (top, left) in zip(padded, corners, strict=True)
                ]
            )
        if self.cutout:
            half = self.cutout // 2
            centres = rng.integers((height, width), size=(count, 2))
            means = out.mean(axis=(1, 2)).round()
            for image, (row, column), mean in zip(out, centres, means, strict=True):
                top, left = max(0, row - half), max(0, column - half)
                image[top : row - half + self.cutout, left : column - half + self.cutout] = mean
        return out


class ImageBatches(keras.utils.PyDataset):
    """Batches of `(images, labels)`: uint8 `(B, H, W, 3)` and float32 `(B, C)`, ones and zeros.

    The same for the same seed and epoch.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        labels: Integer array `(N,)`.
        num_classes: Integer C.
        batch_size: Integer B.
        augmentation: `ImageAugmentation`, or `None` for images as they are.
        shuffle_seed: Integer to shuffle by, anew in each epoch, without the few images that are
            left over from whole batches; or `None` to take all in one order.
        epoch: Integer, epochs done in an earlier session.
    """

    def __init__(
        self,
        images,
        labels,
        num_classes,
        batch_size,
        *,
        augmentation=None,
        shuffle_seed=None,
        epoch=0,
    ):
        super().__init__()
        self._images, self._labels = images, np.eye(num_classes, dtype="float32")[labels]
        self._batch_size, self._augmentation = batch_size, augmentation
        self._seed, self._epoch = shuffle_seed, epoch
        self._begin()

    def __len__(self):
        count = len(self._images)
        whole = count // self._batch_size
        return whole if whole and self._seed is not None else -(-count // self._batch_size)

    def __getitem__(self, index):
        rows = self._order[index * self._batch_size :][: self._batch_size]
        images = self._images[rows]
        if self._augmentation is not None:
            rng = np.random.default_rng((self._seed, self._epoch, index))
            images = self._augmentation(images, self._is_mirrored[rows], rng)
        return images, self._labels[rows]

    def on_epoch_end(self):
        self._epoch += 1
        self._begin()

    def _begin(self):
        """Sets the order of an epoch, and which images are mirrored in it."""
        count = len(self._images)
        self._order, self._is_mirrored = np.arange(count), np.zeros(count, bool)
        if self._seed is None:
            return
        self._order = np.random.default_rng((self._seed, self._epoch)).permutation(count)
        if self._augmentation is not None and self._augmentation.mirror:
            first = np.random.default_rng(self._seed).integers(2, size=count, dtype=bool)
            self._is_mirrored = first ^ bool(self._epoch % 2)
