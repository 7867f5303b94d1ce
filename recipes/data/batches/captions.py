"""Batches of captions with their images."""

import numpy as np

from recipes.data.batches.base import Batches, pad, swap_second


class CaptionBatches(Batches):
    """Captions of about the same length, padded with 0, with their images.

    Args:
        images: Array `(N, ...)`, what the model is given of each image.
        captions: List of N lists of integer arrays, each image's captions from the start to the
            end token.
        batch_size: Integer B. The last batch is filled up with empty captions: every batch has the
            same size.
        name: String, the name of the model's input for `images`.
        mirrored: `None`, or a pair like `(images, captions)` of the images with left and right
            swapped: each caption then comes with either, drawn anew in each epoch.
        **options: As for `Batches`.

    Each batch is `({name: (B, ...), "words": (B, 1 + T)}, labels (B, T))`; the labels are the
    words from the second on.
    """

    _STEP = 4  # T is rounded up to a multiple: each length is traced for itself

    def __init__(self, images, captions, batch_size, *, name, mirrored=None, **options):
        self._sides = [(images, captions), *([mirrored] if mirrored else [])]
        self._name = name
        self._rows = [  # pairs of an image and the number of its caption
            (image, number)
            for image, captions_of in enumerate(captions)
            for number in range(len(captions_of))
        ]
        lengths = [len(captions[image][number]) for image, number in self._rows]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, rows, width):
        sides = self._drawn_sides[rows]
        chosen = [self._rows[row] for row in rows]
        captions = [
            self._sides[side][1][image][number]
            for side, (image, number) in zip(sides, chosen, strict=True)
        ]
        words = pad(captions, width, self._batch_size)
        # Image 0 stands beside the empty captions.
        missing = (0, self._batch_size - len(rows))
        sides = np.pad(sides, missing)
        numbers = np.pad([image for image, _ in chosen], missing)
        images = self._sides[0][0][numbers]
        for side, (others, _) in enumerate(self._sides[1:], start=1):
            images[sides == side] = others[numbers[sides == side]]
        return {self._name: images, "words": words}, words[:, 1:]

    def _bucket(self, rng):
        count = len(self._rows)
        self._drawn_sides = np.zeros(count, "int64")
        if rng is not None:
            self._drawn_sides = rng.integers(len(self._sides), size=count)
        return super()._bucket(rng)

    def _width(self, longest):
        return 1 + self._STEP * int(np.ceil((longest - 1) / self._STEP))

    def _part_first_two(self, batches):
        swap_second(batches)
