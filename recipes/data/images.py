"""Images of a data set: where they lie, reading them, and passing over those that are broken.

    for image in data.train.images(160): ... # uint8 (160, 160, 3), or a BrokenImage
    image = decode(path.read_bytes())        # uint8 (height, width, 3)

A module such as `captions` adds what stands beside the images, as columns of its own.
"""

import dataclasses
import hashlib
import io

import numpy as np

from recipes.data import dataset
from recipes.kit.errors import UserError

_NAMES = {"train": "training", "validation": "validation"}
_MOST_BROKEN = 0.01  # of all images; more is no accident


@dataclasses.dataclass(frozen=True)
class BrokenImage:
    """Stands where an image cannot be read."""

    name: str
    reason: str

    def __str__(self):
        return f"{self.name} ({self.reason})"


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Names of images; a subclass adds what stands beside each.

    Attributes:
        source: Knows the images: `read(names)` yields pairs of a name and the bytes of its file (or
            an array, or the error in their place), `stamps(names)` what changes with its content.
    """

    names: list[str]
    source: object = dataclasses.field(kw_only=True, metadata=dataset.SHARED)

    def images(self, size=None):
        """Yields each image as uint8 `(H, W, 3)`, or a `BrokenImage`; `size` as in `decode`."""
        for name, content in self.source.read(self.names):
            try:
                yield decode(content, size)
            except ValueError as error:
                yield BrokenImage(name, str(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataset(dataset.Dataset):
    """A data set whose splits are of `Split`; attributes as of `dataset.Dataset`."""

    plural = "images"

    def _contents(self):
        for split in self.splits.values():
            stamps = split.source.stamps(split.names)
            for stamp, name, *row in zip(stamps, *split.columns.values(), strict=True):
                values = (v for x in row for v in (x if isinstance(x, list) else [x]))
                yield "\0".join(map(str, [name, stamp, *values, "\n"])).encode()

    def without(self, broken):
        """The same without the images that cannot be read.

        Args:
            broken: List of `BrokenImage`.

        Raises:
            UserError: If they are more than one in a hundred, or all of a split.
        """
        total = sum(map(len, self.splits.values()))
        shown = ", ".join(map(str, broken[:3])) + (", ..." if len(broken) > 3 else "")
        if len(broken) > _MOST_BROKEN * total:
            raise UserError(
                f"{self.name}: {len(broken):,} of {total:,} images cannot be read, more than one "
                f"in a hundred: {shown}"
            )
        if not broken:
            return self
        names = {image.name for image in broken}
        splits = {
            part: split.take([row for row, name in enumerate(split.names) if name not in names])
            for part, split in self.splits.items()
        }
        for part, split in splits.items():
            if not split.names:
                raise UserError(f"{self.name}: no image of the {part} split can be read: {shown}")
        note = f"skipped {len(broken):,} of {total:,} images, which cannot be read: {shown}"
        return dataclasses.replace(self, **splits, notes=[*self.notes, note])


def with_copies_noted(data, pictures):
    """The data, with a note for each split that has images of an earlier one, of any name.

    Args:
        data: A `dataset.Dataset`.
        pictures: Dict from the name of a split to its images, arrays.
    """
    known, notes = {}, []
    for part, arrays in pictures.items():
        digests = [hashlib.blake2b(array.tobytes(), digest_size=16).digest() for array in arrays]
        for other, seen in known.items():
            if count := sum(digest in seen for digest in digests):
                notes.append(
                    f"{count:,} of the {part} images also occur among the {_NAMES[other]} images, "
                    "pixel by pixel"
                )
        known[part] = set(digests)
    return dataclasses.replace(data, notes=[*data.notes, *notes]) if notes else data


class Arrays:
    """Images that are in memory, as a source of a `Split`: `{name: uint8 (H, W, 3)}`.

    Args:
        arrays: Dict from names to images, or to the bytes of their files.
        stamp: Whatever changes with them.
    """

    def __init__(self, arrays, stamp=0):
        self._arrays, self._stamp = arrays, stamp

    def read(self, names):
        for name in names:
            yield name, self._arrays[name]

    def stamps(self, names):
        return [self._stamp] * len(names)


def named_rows(dataset):
    """Pairs of a name, that of the file or the number of the row, and the row of a TFDS split."""
    for number, row in enumerate(dataset.as_numpy_iterator()):
        name = row["image/filename"].decode() if "image/filename" in row else f"{number:08d}"
        yield name, row


class TfdsImages:
    """Images of a TFDS split, as a source of a `Split`: read in one pass, in its order."""

    def __init__(self, dataset, version):
        self._dataset, self._version = dataset, version

    def read(self, names):
        wanted = set(names)  # they stand in the order of the data set: nothing here reorders
        for name, row in named_rows(self._dataset):
            if name in wanted:
                yield name, row["image"]

    def stamps(self, names):
        return [self._version] * len(names)


def prepared(split, size):
    """All images of a split, of one size, in memory.

    Returns:
        uint8 `(N, size, size, 3)`, with zeros for an image that cannot be read, and a list of
        those, `BrokenImage`s.
    """
    images, broken = np.zeros((len(split), size, size, 3), "uint8"), []
    for row, image in enumerate(split.images(size)):
        if isinstance(image, BrokenImage):
            broken.append(image)
        else:
            images[row] = image
    return images, broken


def decode(content, size=None):
    """The image in a file's bytes (or an array) as uint8 `(H, W, 3)`.

    A photo stands upright, as its EXIF says. Of 16 bits the higher 8 count; the range of values of
    32 bits is not known. Opacity says nothing.

    Args:
        content: Bytes, a uint8 array, or the error that came instead.
        size: Integer, the side of the square that it is squashed to; by default it keeps its size.

    Raises:
        ValueError: If it is broken, or of values of 32 bits.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if isinstance(content, Exception):
            raise content
        image = (
            Image.fromarray(content[..., 0] if content.shape[2:] == (1,) else content)
            if isinstance(content, np.ndarray)
            else Image.open(io.BytesIO(content))
        )
        image = _of_8_bits(ImageOps.exif_transpose(image), image.format).convert("RGB")
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image)
    except UnidentifiedImageError:
        raise ValueError("not an image, or of an unknown format") from None
    # Each format's reader has errors of its own.
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _of_8_bits(image, format_):
    """An image whose values are of 8 bits: Pillow would make all that is more than 255 white."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and format_ in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image).astype("int64") >> 8).astype("uint8"))
    if image.mode in ("I", "F"):
        raise ValueError("its values have 32 bits; expected 8 or 16")
    return image


def read_file(path, size=None):
    """The image in a file that a user named, as `decode` gives it.

    Raises:
        UserError: If it cannot be read or is no image.
    """
    try:
        return decode(path.read_bytes(), size)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"Expected an image in {path}: {error}") from error


def statistics(image):
    """The mean of all values of an image and their deviation, at least 1: float32 both.

    >>> statistics(np.array([[[10, 20, 30]]], "uint8"))[0]
    np.float32(20.0)
    """
    pixels = image.astype("float32")
    return pixels.mean(), np.maximum(pixels.std(), np.float32(1))
