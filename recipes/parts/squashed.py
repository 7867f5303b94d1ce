"""Pictures with boxes, squashed to the size that a network takes.

pictures, data = prepare(data, height=192, width=256)
pictures["train"].images, pictures["train"].squashed      # and the boxes with them
"""

import dataclasses

import numpy as np

from recipes.data import images as image_data
from recipes.data.images import BrokenImage
from recipes.kit.errors import UserError

_MOST_BYTES = 4 * 2**30  # of all pictures together in memory


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of a split as the network takes them.

    Attributes:
        images: uint8 `(N, H, W, 3)`.
        sizes: int32 `(N, 2)`, height and width of each before it was squashed.
        truths: List of pairs, boxes `(n, 4)` in pixels of the picture before, and classes `(n,)`.
    """

    images: np.ndarray
    sizes: np.ndarray
    truths: list

    @property
    def squashed(self):
        """`truths` in pixels of `images`."""
        height, width = self.images.shape[1:3]
        return [
            (boxes * (np.array([width, height] * 2) / [size[1], size[0], size[1], size[0]]), kinds)
            for (boxes, kinds), size in zip(self.truths, self.sizes, strict=True)
        ]


def prepare(data, height, width):
    """All pictures of a data set, squashed.

    Returns:
        Dict from the name of each split to its `Pictures`, and the data without the images that
        cannot be read.

    Raises:
        UserError: If they take too much memory, or too many are broken.
    """
    count = sum(data.sizes.values())
    if (needed := count * height * width * 3) > _MOST_BYTES:
        raise UserError(
            f"{count:,} images of {width} x {height} pixels take {needed / 2**30:.1f} GiB of "
            f"memory, more than {_MOST_BYTES // 2**30}: give a smaller --height and --width, or "
            "--limit"
        )
    pictures, sizes, broken = {}, {}, []
    for part, split in data.splits.items():
        pictures[part], sizes[part] = np.empty((len(split), height, width, 3), "uint8"), []
        for image in split.images():
            if isinstance(image, BrokenImage):
                broken.append(image)
            else:
                pictures[part][len(sizes[part])] = squash(image, height, width)
                sizes[part].append(image.shape[:2])
    pictures = {part: pictures[part][: len(rows)] for part, rows in sizes.items()}
    data = image_data.with_copies_noted(data.without(broken), pictures)
    return {
        part: Pictures(
            pictures[part],
            np.array(rows, "int32"),
            data.splits[part].truths(data.labels),
        )
        for part, rows in sizes.items()
    }, data


def squash(image, height, width):
    """An image uint8 `(h, w, 3)` as `(height, width, 3)`."""
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)
