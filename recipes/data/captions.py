"""Images with captions from files, from TensorFlow Datasets, or drawn by rule, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)         # captions.csv beside images/ or images.zip
    data = load("tfds:coco_captions", seed=0)
    data.train.names, data.train.captions    # a list of captions for each image
    for image in data.train.images(160): ... # uint8 (160, 160, 3), or a BrokenImage

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import functools
import hashlib
import io
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from recipes.data import tables, tfds
from recipes.data.toy import scenes as toy_scenes
from recipes.kit.errors import UserError

_TOY = "toy"
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
class Split:
    """Names of images and, for each, its captions as they were written."""

    names: list[str]
    captions: list[list[str]]
    source: object  # knows the images: `read(names)` and `stamps(names)`

    def __len__(self):
        return len(self.names)

    def images(self, size):
        """Yields each image as uint8 `(size, size, 3)`, or a `BrokenImage`."""
        for name, content in self.source.read(self.names):
            try:
                yield decode(content, size)
            except ValueError as error:
                yield BrokenImage(name, str(error))

    def take(self, rows):
        return dataclasses.replace(
            self,
            names=[self.names[row] for row in rows],
            captions=[self.captions[row] for row in rows],
        )


@dataclasses.dataclass(frozen=True)
class CaptionedImages:
    """A data set for captioning.

    Attributes:
        train, validation, test: The three `Split`s.
        name: String, as the user gave it.
        description: String, where the images come from.
        licence: String, what is known about the terms of use.
        notes: List of strings, what a reader of a score should know about the splits.
    """

    train: Split
    validation: Split
    test: Split
    name: str
    description: str
    licence: str
    notes: list[str]

    @property
    def splits(self):
        """Dict from `"train"`, `"validation"` and `"test"` to the splits."""
        return {part: getattr(self, part) for part in ("train", "validation", "test")}

    @functools.cached_property
    def fingerprint(self):
        """String that changes with any caption, image or split."""
        digest = hashlib.sha256()
        for split in self.splits.values():
            stamps = split.source.stamps(split.names)
            for name, captions, stamp in zip(split.names, split.captions, stamps, strict=True):
                digest.update("\0".join([name, str(stamp), *captions, "\n"]).encode())
        return digest.hexdigest()

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

    def __str__(self):
        sizes = " / ".join(f"{len(split):,}" for split in self.splits.values())
        count = sum(map(len, self.train.captions))
        lines = [
            f"{self.name}: {sizes} images to train, validate and test; "
            f"{count:,} captions to train with"
        ]
        return "\n".join(lines + [f"  Note: {note}" for note in self.notes])


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


def load(source, *, seed, validation_fraction=0.1, limit=None, data_dir=None):
    """Returns the `CaptionedImages` of a source.

    A source without a validation split gets one cut from its training images.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with the features of
            `coco_captions`; or the path of a folder with a table `captions.*` (csv, tsv or jsonl,
            plain or `.gz`; columns `split`, `image` and `caption`, a line a caption), beside one
            folder or zip of images. Of the splits, `train`, `dev` (or `validation`, `val`) and
            `test` are read.
        seed: Integer, decides which images are cut off for validation and kept by `limit`. The toy
            scenes are the same for every seed.
        validation_fraction: Float in `(0, 1)`, share of the training images to cut off.
        limit: Integer or None, at most so many images of each split, for a quick look.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> len(data.train), len(data.train.captions[0])
    (100, 5)
    """
    if str(source) == _TOY:
        splits, about = _read_toy()
    elif str(source).startswith(tfds.PREFIX):
        splits, about = _read_tfds(str(source).removeprefix(tfds.PREFIX), data_dir)
    else:
        splits, about = _read_folder(Path(source).expanduser())
    notes = about.pop("notes", [])
    rng = np.random.default_rng(seed)
    if limit is not None:
        if any(len(split) > limit for split in splits.values()):
            notes = [*notes, f"only up to {limit:,} images of each split were used"]
        splits = {part: _sample(split, limit, rng) for part, split in splits.items()}
    if "validation" not in splits:
        splits["train"], splits["validation"] = _cut(splits["train"], validation_fraction, rng)
        notes = [*notes, "the validation images were cut from the training images"]
    return CaptionedImages(**splits, name=str(source), notes=notes, **about)


def _sample(split, limit, rng):
    if len(split) <= limit:
        return split
    return split.take(sorted(rng.permutation(len(split))[:limit].tolist()))


def _cut(split, fraction, rng):
    if len(split) < 2:
        raise UserError("Expected two training images or more, one of them for validation")
    order = rng.permutation(len(split)).tolist()
    count = min(max(1, round(fraction * len(split))), len(split) - 1)
    return split.take(sorted(order[count:])), split.take(sorted(order[:count]))


# ------------------------------------------------------------------------------------ toy


class _ToyImages:
    def __init__(self, scenes):
        self._scenes = {scene.name: scene for scene in scenes}

    def read(self, names):
        for name in names:
            yield name, self._scenes[name].image

    def stamps(self, names):
        return [self._scenes[name].seed for name in names]


def _read_toy():
    splits = {
        part: Split(
            [scene.name for scene in scenes],
            [list(scene.captions) for scene in scenes],
            _ToyImages(scenes),
        )
        for part, scenes in zip(("train", "validation", "test"), toy_scenes.splits(), strict=True)
    }
    about = {"description": toy_scenes.DESCRIPTION, "licence": "Apache-2.0, as this project."}
    return splits, about


# ------------------------------------------------------------------------------------ files


class _FolderImages:
    """Image files in a folder."""

    def __init__(self, path):
        self.path = path

    def has(self, name):
        return (self.path / name).is_file()

    def read(self, names):
        for name in names:
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                yield name, error

    def stamps(self, names):
        for name in names:
            status = (self.path / name).stat()
            yield f"{status.st_size} {status.st_mtime_ns}"


class _ZipImages:
    """Image files in a zip, perhaps in folders there."""

    def __init__(self, path):
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{path}: expected a zip of images: {error}") from None
        self._entries = {Path(entry.filename).name: entry for entry in entries}
        self._entries |= {entry.filename: entry for entry in entries}

    def has(self, name):
        return name in self._entries

    def read(self, names):
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                try:
                    yield name, archive.read(self._entries[name])
                except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError) as error:
                    yield name, error

    def stamps(self, names):
        return [self._entries[name].CRC for name in names]


def _read_folder(folder):
    tables.check_folder(folder, _WANTED)
    path = tables.find_file(folder, ("captions",))
    if path is None:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise UserError(f"Expected {_WANTED} in {folder}. Found: {there}")
    images = _find_images(folder)
    names_of = {name: part for part, names in tables.SPLIT_NAMES.items() for name in names}
    found, split_of, unused = {part: {} for part in tables.SPLIT_NAMES}, {}, {}
    columns = {"split": "value", "image": "value", "caption": "value"}
    for line, split, image, caption in tables.read(path, columns):
        where = f"{path}:{line}"
        if not images.has(image):
            raise UserError(
                f"{where}: expected an image that is in {images.path.name}. "
                f"Received: {tables.short(image)}"
            )
        if split_of.setdefault(image, split) != split:
            raise UserError(
                f"{where}: expected an image to be in one split. Received: {tables.short(image)} "
                f"in {split_of[image]!r} before and in {split!r} here"
            )
        if not words(caption):
            raise UserError(
                f"{where}: expected a caption with a word. Received: {tables.short(caption)}"
            )
        if split in names_of:
            found[names_of[split]].setdefault(image, []).append(caption)
        else:
            unused.setdefault(split, set()).add(image)
    for part in ("train", "test"):
        if not found[part]:
            there = ", ".join(sorted(set(split_of.values()))[:8])
            raise UserError(
                f"{path}: expected rows whose split is {part!r}. Received the splits: {there}"
            )
    splits = {
        part: Split(list(rows), list(rows.values()), images) for part, rows in found.items() if rows
    }
    about = {
        "description": f"Images with captions from the files in {folder.name}.",
        "licence": "As given by those who made the files.",
        "notes": [
            f"{len(names):,} images of the split {split!r} were passed over"
            for split, names in unused.items()
        ],
    }
    return splits, about


def _find_images(folder):
    """The images beside the captions: `images/`, `images.zip`, or the only folder or zip."""
    there = sorted(p for p in folder.iterdir() if p.is_dir() or p.suffix == ".zip")
    named = [path for path in there if path.stem == "images"]
    found = named or there
    if len(found) != 1:
        shown = " and ".join(path.name for path in found[:2]) or "none"
        raise UserError(f"Expected one folder or zip of images in {folder}. Found: {shown}")
    return _FolderImages(found[0]) if found[0].is_dir() else _ZipImages(found[0])


# ------------------------------------------------------------------------------------ TFDS


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


def _read_tfds(name, data_dir):
    builder = tfds.open_builder(name, data_dir)
    features = builder.info.features
    expected = ("image", "image/filename", "captions")
    if missing := [key for key in expected if key not in features]:
        raise UserError(
            f"Expected the features {', '.join(expected)} in {name}. It has no {missing[0]} among "
            f"{', '.join(features)}"
        )
    import tensorflow_datasets

    # As bytes: an image is decoded when it is needed, and by the same code as any other.
    decoders = {"image": tensorflow_datasets.decode.SkipDecoding()}
    datasets = tfds.load(name, builder, data_dir, decoders=decoders)
    splits = {}
    for part, names in tables.SPLIT_NAMES.items():
        found = next((split for split in (*names, part) if split in datasets), None)
        if found is not None:
            splits[part] = _tfds_split(datasets[found], str(builder.info.full_name))
    for part in ("train", "test"):
        if part not in splits or not splits[part].names:
            raise UserError(
                f"Expected images to {part} with in {name}. Its splits: {', '.join(datasets)}"
            )
    return splits, tfds.about(builder)


def _tfds_split(dataset, version):
    rows = dataset.map(lambda row: (row["image/filename"], row["captions"]["text"]))
    names, captions = [], []
    for name, texts in rows.as_numpy_iterator():
        texts = [text.decode("utf-8", errors="replace") for text in texts]
        texts = [text for text in texts if words(text)]
        if texts:
            names.append(name.decode())
            captions.append(texts)
    return Split(names, captions, _TfdsImages(dataset, version))
