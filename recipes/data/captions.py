"""Images with captions from files, from TensorFlow Datasets, or drawn by rule, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)         # captions.csv beside images/ or images.zip
    data = load("tfds:coco_captions", seed=0)
    data.train.names, data.train.captions    # a list of captions for each image
    for image in data.train.images(160): ... # uint8 (160, 160, 3), or a BrokenImage

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import collections
import dataclasses
import io
import re

import numpy as np

from recipes.data import archives, dataset, tables, tfds
from recipes.data.toy import scenes as toy_scenes
from recipes.kit.errors import UserError

_WANTED = "captions.csv (columns split, image, caption) beside images/ or images.zip"
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
    """Names of images and, for each, its captions as they were written."""

    names: list[str]
    captions: list[list[str]]
    # Knows the images: `read(names)` and `stamps(names)`.
    source: object = dataclasses.field(metadata=dataset.SHARED)

    def images(self, size):
        """Yields each image as uint8 `(size, size, 3)`, or a `BrokenImage`."""
        for name, content in self.source.read(self.names):
            try:
                yield decode(content, size)
            except ValueError as error:
                yield BrokenImage(name, str(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionedImages(dataset.Dataset):
    """A data set for captioning; attributes as of `dataset.Dataset`."""

    plural = "images"

    @property
    def examples(self):
        return sum(map(len, self.train.captions))

    def _contents(self):
        for split in self.splits.values():
            stamps = split.source.stamps(split.names)
            for name, captions, stamp in zip(split.names, split.captions, stamps, strict=True):
                yield "\0".join([name, str(stamp), *captions, "\n"]).encode()

    def _details(self):
        return f"; {self.examples:,} captions to train with"

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
                raise UserError(f"{self.name}: no image to {part} with can be read: {shown}")
        note = f"skipped {len(broken):,} of {total:,} images, which cannot be read: {shown}"
        return dataclasses.replace(self, **splits, notes=[*self.notes, note])


def words(caption):
    """The words of a caption in lower case, without punctuation.

    >>> words("A man's T-shirt , seen from behind .")
    ['a', "man's", 't-shirt', 'seen', 'from', 'behind']
    """
    return re.findall(r"\w+(?:['\u2019-]\w+)*", caption.lower())


def decode(content, size):
    """The image in a file's bytes (or an array) as uint8 `(size, size, 3)`, squashed to a square.

    Raises:
        ValueError: If it is broken.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if isinstance(content, Exception):
            raise content
        image = (
            Image.fromarray(content)
            if isinstance(content, np.ndarray)
            else Image.open(io.BytesIO(content))
        )
        image = ImageOps.exif_transpose(image).convert("RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image)
    except UnidentifiedImageError:
        raise ValueError("not an image, or of an unknown format") from None
    # Each format's reader has errors of its own.
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def load(source, **options):
    """Returns the `CaptionedImages` of a source.

    A source without a validation split gets one cut from its training images.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with the features of
            `coco_captions`; or the path of a folder with a table `captions.*` (csv, tsv or jsonl,
            plain or `.gz`; columns `split`, `image` and `caption`, a line a caption), beside one
            folder or zip of images. Of the splits, `train`, `dev` (or `validation`, `val`) and
            `test` are read.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> len(data.train), len(data.train.captions[0])
    (100, 5)
    """
    return CaptionReader(**options).load(source)


@dataclasses.dataclass(kw_only=True)
class CaptionReader(dataset.Reader):
    """Reads `CaptionedImages`; arguments as of `load`."""

    split_class, dataset_class = Split, CaptionedImages
    columns = {"split": "value", "image": "value", "caption": "value"}
    key = "names"
    toy, folder_contents = toy_scenes, "Images with captions"
    tfds_contents = "images to {part} with"
    validation_hint = "Rows of a split dev would do as well"

    def read_toy(self):
        splits = {
            part: Split(
                [scene.name for scene in scenes],
                [list(scene.captions) for scene in scenes],
                _ToyImages(scenes),
            )
            for part, scenes in zip(dataset.PARTS, toy_scenes.splits(), strict=True)
        }
        return splits, self.toy_facts()

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        path = tables.find_file(folder, ("captions",))
        if path is None:
            raise UserError(f"Expected {_WANTED} in {folder}. Found: {tables.listing(folder)}")
        images = archives.find(folder, "images")
        captions, split_of = {}, {}  # of each image
        for line, split, image, caption in tables.read(path, self.columns):
            where = f"{path}:{line}"
            if not images.has(image):
                raise UserError(
                    f"{where}: expected an image that is in {images.path.name}. "
                    f"Received: {tables.short(image)}"
                )
            if split_of.setdefault(image, split) != split:
                raise UserError(
                    f"{where}: expected an image to be in one split. "
                    f"Received: {tables.short(image)} in {split_of[image]!r} before and in "
                    f"{split!r} here"
                )
            if not words(caption):
                raise UserError(
                    f"{where}: expected a caption with a word. Received: {tables.short(caption)}"
                )
            captions.setdefault(image, []).append(caption)
        names = {part: [] for part in dataset.PARTS}
        part_of = {name: part for part, names in tables.SPLIT_NAMES.items() for name in names}
        unused = collections.Counter()
        for image, split in split_of.items():
            if split in part_of:
                names[part_of[split]].append(image)
            else:
                unused[split] += 1
        for part in ("train", "test"):
            if not names[part]:
                present = ", ".join(sorted(set(split_of.values()))[:8])
                raise UserError(
                    f"{path}: expected rows whose split is {part!r}. Received the splits: {present}"
                )
        self.notes += [
            f"{count:,} images of the split {split!r} were passed over"
            for split, count in unused.items()
        ]
        splits = {
            part: Split(names_of, [captions[name] for name in names_of], images, origin=str(path))
            for part, names_of in names.items()
            if names_of
        }
        return splits, self.folder_facts(folder)

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        tfds.require_features(name, builder.info.features, ("image", "image/filename", "captions"))
        import tensorflow_datasets

        # As bytes: an image is decoded when it is needed, and by the same code as any other.
        decoders = {"image": tensorflow_datasets.decode.SkipDecoding()}
        datasets = tfds.load(name, builder, self.data_dir, decoders=decoders)
        splits = {
            part: _tfds_split(
                datasets[official], str(builder.info.full_name), f"{name}, split {official}"
            )
            for part, official in tfds.official_splits(datasets).items()
        }
        return self.require_tfds(splits, name, datasets), tfds.about(builder)


def _tfds_split(dataset, version, origin):
    rows = dataset.map(lambda row: (row["image/filename"], row["captions"]["text"]))
    names, captions = [], []
    for name, texts in rows.as_numpy_iterator():
        texts = [text for text in map(tfds.text, texts) if words(text)]
        if texts:
            names.append(name.decode())
            captions.append(texts)
    return Split(names, captions, _TfdsImages(dataset, version), origin=origin)


# -------------------------------------------------------------------- where images lie


class _ToyImages:
    def __init__(self, scenes):
        self._scenes = {scene.name: scene for scene in scenes}

    def read(self, names):
        for name in names:
            yield name, self._scenes[name].image

    def stamps(self, names):
        return [self._scenes[name].seed for name in names]


class _TfdsImages:
    """Images of a TFDS split: read in one pass, in the order of the data set."""

    def __init__(self, dataset, version):
        self._dataset, self._version = dataset, version

    def read(self, names):
        wanted = set(names)  # they stand in the order of the data set: nothing here reorders
        for row in self._dataset.as_numpy_iterator():
            name = row["image/filename"].decode()
            if name in wanted:
                yield name, row["image"]

    def stamps(self, names):
        return [self._version] * len(names)
