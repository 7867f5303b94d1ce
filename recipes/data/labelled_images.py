"""Labelled images from folders or archives, from TensorFlow Datasets, or drawn, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)         # SPLIT/CLASS/*.jpg, or CLASS/*.jpg
    data = load("photos.zip", seed=0)        # the same in a zip or tar
    data = load("tfds:cifar10", seed=0)
    data.train.names, data.train.labels, data.labels
    images, data = in_memory(data)           # {"train": uint8 (N, size, size, 3), ...}

Whatever is wrong with the data is a `UserError` that names the file.
"""

import collections
import dataclasses
import io
import unicodedata
from pathlib import PurePosixPath

import numpy as np

from recipes.data import archives, dataset, images, tables, tfds
from recipes.data.labels import LabelledDataset, LabelledReader
from recipes.data.toy import marks as toy_marks
from recipes.kit.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_WANTED = "train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg, or a zip or tar of these"
_TEST_SHARE = 0.2  # of the images, where there is no split to test with
_MOST_BYTES = 4 * 2**30  # of all images together in memory
_SMALLEST = 8  # side of an image that the networks take
_LARGEST = 1024  # side of an image, as `--image-size` has it
_MEASURED = 200  # training images whose size decides


@dataclasses.dataclass(frozen=True)
class Split(images.Split):
    """Names of images and, for each, the index of its label in `LabelledImages.labels`."""

    labels: np.ndarray  # int32, one an image


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledImages(images.ImageDataset, LabelledDataset):
    """A data set for the classification of images; attributes as of `LabelledDataset`."""


def load(source, **options):
    """Returns the `LabelledImages` of a source.

    A source without a validation split gets one cut from its training images, with the same share
    of each class; one without any split gets a test split too.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with an image and a class
            label; or the path of a folder, zip or tar (plain, gz, bz2 or xz) with images in
            `SPLIT/CLASS/`, the splits `train`, `test` and perhaps `dev` (`validation`, `valid`,
            `val`), or in `CLASS/`; or of a folder with an archive for each split, such as
            `train.tar.xz` and `test.tar.xz`, with images in `CLASS/`.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong.

    >>> data = load("toy", seed=0, limit=100)
    >>> data.labels, len(data.train), data.train.labels.dtype
    (['circle', 'cross', 'square', 'triangle'], 100, dtype('int32'))
    """
    return ImageReader(**options).load(source)


@dataclasses.dataclass(kw_only=True)
class ImageReader(LabelledReader):
    """Reads `LabelledImages`; arguments as of `load`."""

    split_class, dataset_class = Split, LabelledImages
    key = "names"
    toy, folder_contents = toy_marks, "Images"
    validation_hint = "A folder dev/ would do as well"

    def read_toy(self):
        splits = {
            part: Split(
                [row.name for row in rows],
                [row.label for row in rows],
                source=images.Arrays({row.name: row.image for row in rows}),
                origin=dataset.TOY,
            )
            for part, rows in zip(dataset.PARTS, toy_marks.splits(), strict=True)
        }
        return splits, self.toy_facts()

    def read_folder(self, folder):
        if not folder.exists() or (folder.is_file() and archives.stem(folder) is None):
            tables.check_folder(folder, _WANTED)
        by_part = self._of_archives(folder) or self._of_one(folder)
        splits = {
            part: Split(*map(list, zip(*rows, strict=True)), source=source, origin=str(origin))
            for part, (source, origin, rows) in by_part.items()
            if rows
        }
        if "train" not in splits:
            raise UserError(f"Expected {_WANTED}, in {folder}. Found: {_listing(folder)}")
        if "test" not in splits and "validation" in splits:
            splits["test"] = splits.pop("validation")
            self.notes.append("there is no test split; the validation split is the test here")
        elif "test" not in splits:
            splits["train"], splits["test"] = self.cut(splits["train"], _TEST_SHARE)
            self.notes.append(
                f"one in {1 / _TEST_SHARE:.0f} images of each class was cut off as the test split"
            )
        return splits, self.folder_facts(folder)

    def _of_archives(self, folder):
        """What `_of_one` returns, of a folder with an archive for each split."""
        if not folder.is_dir():
            return {}
        paths = {}
        for path in sorted(folder.iterdir()):
            part = tables.PART_OF.get(archives.stem(path)) if path.is_file() else None
            if part and paths.setdefault(part, path) != path:
                raise UserError(
                    f"Expected one archive for the {part} split in {folder}. "
                    f"Found: {paths[part].name} and {path.name}"
                )
        found = {}
        for part, path in paths.items():
            source = _Within(archives.opened(path, "images"), part)
            rows = self._rows(source.names(), path)
            found[part] = source, path, [(f"{part}/{name}", label) for name, label, _ in rows]
        return found

    def _of_one(self, folder):
        """Dict from the name of a part to its source, its origin and its rows: name and label."""
        path = folder
        if folder.is_dir():  # perhaps with a single archive of everything
            inside = [one for one in folder.iterdir() if one.is_file() and archives.stem(one)]
            has_folders = any(one.is_dir() and one.name[0] != "." for one in folder.iterdir())
            path = inside[0] if len(inside) == 1 and not has_folders else folder
        source = archives.opened(path, "images")
        rows = self._rows(source.names(), path)
        parts = {part for _, _, part in rows}
        if parts == {None}:
            return {"train": (source, path, [(name, label) for name, label, _ in rows])}
        if count := sum(part is None for _, _, part in rows):
            self.notes.append(f"{count:,} images outside the folders of splits were passed over")
        return {
            part: (
                source,
                f"{path}, split {part}",
                [(name, label) for name, label, of in rows if of == part],
            )
            for part in dataset.PARTS
        }

    def _rows(self, names, path):
        """Triples of the name of each image, its label, and its part or `None`."""
        rows, without = [], collections.Counter()
        for name in names:
            *above, label, file = ("", *PurePosixPath(name).parts)
            if not file.lower().endswith(ENDINGS):
                without[f"files of another kind ({PurePosixPath(file).suffix or file})"] += 1
            elif not label:
                without["images without a folder"] += 1
            else:
                label = unicodedata.normalize("NFC", label)  # macOS parts letters and their accents
                rows.append((name, label, tables.PART_OF.get(above[-1].lower()) if above else None))
        if any(part for _, _, part in rows):  # an image in test/ itself has no class
            kept = [row for row in rows if row[2] or row[1].lower() not in tables.PART_OF]
            without["images without a class"] += len(rows) - len(kept)
            rows = kept
        _check_places(rows, path)
        self.notes += [
            f"{count:,} {kind} were passed over" for kind, count in without.items() if count
        ]
        return rows

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        features = builder.info.features
        label = tfds.find_label(name, features, "label")
        found = tfds.of_kind(features, "Image")
        if len(found) != 1:
            raise UserError(
                f"Expected a single image in a row of {name}. Found: {', '.join(found) or 'none'} "
                f"among {', '.join(features)}"
            )
        import tensorflow_datasets

        # As bytes: decoded by the same code as any other.
        decoders = {found[0]: tensorflow_datasets.decode.SkipDecoding()}
        datasets = tfds.load(name, builder, self.data_dir, decoders=decoders)
        # Some sets know the names of their classes only once they are downloaded.
        names = tfds.open_builder(name, self.data_dir).info.features[label].names
        splits = {}
        for part, official in tfds.official_splits(datasets).items():
            contents, labels = {}, []
            pairs = datasets[official].map(lambda row: (row[found[0]], row[label]))
            for content, number in pairs.as_numpy_iterator():
                if number >= 0:  # competitions keep the labels of their test split
                    contents[f"{part}-{len(labels):06d}"] = content
                    labels.append(names[number])
            source = images.Arrays(contents, str(builder.info.full_name))
            origin = f"{name}, split {official}"
            splits[part] = Split(list(contents), labels, source=source, origin=origin)
        return self.require_tfds(splits, name, datasets), tfds.about(builder)


class _Within:
    """The files of an archive, whose names there begin with a part's."""

    def __init__(self, files, part):
        self._files, self._prefix = files, f"{part}/"

    def names(self):
        return self._files.names()

    def read(self, names):
        inside = [name.removeprefix(self._prefix) for name in names]
        for name, content in self._files.read(inside):
            yield self._prefix + name, content

    def stamps(self, names):
        return self._files.stamps([name.removeprefix(self._prefix) for name in names])


def _check_places(rows, path):
    """Raises where folders are not those of classes: the rows of a part have theirs in one place.

    Else years would be classes, or a test split of another name would be trained on.
    """
    place_of = {name: PurePosixPath(name).parent.parent for name, _, _ in rows}
    of_splits = {place_of[name] for name, _, part in rows if part}
    first, wrong = {}, None
    for name, _, part in rows:
        if part or not of_splits:
            other = first.setdefault(part, name)
            wrong = wrong or (place_of[other] != place_of[name] and f"{other} and {name}")
        elif of_splits & {*place_of[name].parents}:  # else it stands beside the splits
            wrong = wrong or name
    if not of_splits and rows and {label.lower() for _, label, _ in rows} <= tables.PART_OF.keys():
        wrong = rows[0][0]
    if wrong:
        raise UserError(
            f"{path}: expected {_WANTED}; all classes in one place, and images right in the folder "
            f"of their class. Received: {wrong}"
        )


def _listing(folder):
    return tables.listing(folder) if folder.is_dir() else "no image in the folder of a class"


def median_size(split):
    """The median side of some of a split's images, 1,024 at most; `None` if none can be read."""
    from PIL import Image

    sides = []
    some = np.unique(np.linspace(0, len(split) - 1, _MEASURED).astype(int))
    for _, content in split.source.read([split.names[row] for row in some]):
        if isinstance(content, np.ndarray):
            sides += content.shape[:2]
            continue
        try:
            sides += Image.open(io.BytesIO(content)).size
        # Each format's reader has errors of its own; an error may stand in place of the content.
        except Exception:
            continue  # it is counted when it is read
    return min(round(float(np.median(sides))), _LARGEST) if sides else None


def in_memory(data, size=None):
    """The images of all splits, and the data without those that cannot be read.

    Args:
        data: `LabelledImages`.
        size: Integer, the side of the square that each is squashed to; by default the median side
            of the training images, 8 at least.

    Returns:
        Dict from the name of a split to uint8 `(N, size, size, 3)`. The data.

    Raises:
        UserError: If they take too much memory, or too many are broken.
    """
    if size is None and (median := median_size(data.train)) is None:
        raise UserError(f"{data.name}: no training image can be read")
    size = size or max(median, _SMALLEST)
    count = sum(data.sizes.values())
    if (needed := count * size * size * 3) > _MOST_BYTES:
        raise UserError(
            f"{count:,} images of {size} x {size} pixels take {needed / 2**30:.1f} GiB of memory, "
            f"more than {_MOST_BYTES // 2**30}: give a smaller --image-size, or --limit"
        )
    found, broken = {}, []
    for part, split in data.splits.items():
        found[part], some = images.prepared(split, size)
        broken += some
        gone = {image.name for image in some}
        if gone:
            found[part] = found[part][[name not in gone for name in split.names]]
    return found, images.with_copies_noted(data.without(broken), found)
