"""Images with masks of what is to be marked in them, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)         # index.csv beside images/ or images.zip, or
    data = load("my_folder", seed=0)         # train/images, train/masks, test/images, test/masks
    data = load("tfds:oxford_iiit_pet", seed=0, foreground=1)
    data.train.images, data.train.masks      # uint8 (H, W, 3) and boolean (H, W), of any sizes

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import io
from pathlib import Path

import numpy as np

from recipes.data import archives, dataset, images, split_column, tables, tfds
from recipes.data.toy import cells
from recipes.kit.errors import UserError

_WANTED = (
    "a table (columns split and image) beside images/ or images.zip, or with folders train/ and "
    "test/, each with images/ and masks/"
)
_MOST_BYTES = 4 * 2**30  # of all images and masks together in memory
_HALF = 127  # of a mask in a form that does not keep its numbers
_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".jpg", ".jpeg", ".webp")


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Names of images, the images, uint8 `(H, W, 3)`, and their masks, boolean `(H, W)`."""

    names: list[str]
    images: list[np.ndarray]
    masks: list[np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentedImages(dataset.Dataset):
    """A data set for segmentation; attributes as of `dataset.Dataset`."""

    plural = "images"

    def _contents(self):
        for split in self.splits.values():
            for name, image, mask in zip(*split.columns.values(), strict=True):
                yield f"{name}\0{image.shape}\n".encode()
                yield image.tobytes()
                yield np.packbits(mask).tobytes()

    def _details(self):
        marked = sum(int(mask.sum()) for mask in self.train.masks)
        share = marked / sum(mask.size for mask in self.train.masks)
        return f"; {share:.1%} of the pixels to train with are foreground"


def load(source, **options):
    """Returns the `SegmentedImages` of a source.

    A source without a validation split gets one cut from its training images.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with the features `image`
            and `segmentation_mask`; or the path of a folder. There either a table (csv, tsv or
            jsonl, plain or `.gz`; columns `split` and `image`) stands beside one folder or zip,
            which holds for each image `ID.png` its mask `ID.mask.png`; or folders `train`, `test`
            and perhaps `dev` (or `validation`, `val`) hold `images` and `masks`, folders or zips,
            with the same names but for their endings.
        longest_side: Integer or None: larger images are shrunk to it, with their masks.
        foreground: Integer, the value of a mask that is foreground; by default all above 0.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=20)
    >>> len(data.train), data.train.masks[0].shape
    (20, (64, 64))
    """
    return MaskReader(**options).load(source)


@dataclasses.dataclass(kw_only=True)
class MaskReader(dataset.Reader):
    """Reads `SegmentedImages`; arguments as of `load`."""

    split_class, dataset_class = Split, SegmentedImages
    columns = {"split": "value", "image": "value"}
    key = "names"
    toy, toy_columns, folder_contents = cells, ("name", "image", "mask"), "Images with masks"
    tfds_contents = "images with masks to {part}"
    validation_hint = "Images of a split dev would do as well"

    longest_side: int | None = None
    foreground: int | None = None
    _bytes: int = dataclasses.field(default=0, init=False)

    def check(self, splits):
        for part, split in splits.items():
            if not any(mask.any() for mask in split.masks):
                wanted = "above 0" if self.foreground is None else f"of {self.foreground}"
                raise UserError(
                    f"{split.origin}: expected foreground (values {wanted}) in the masks of the "
                    f"{part} split. Received: none in {len(split)} masks"
                )
            if part == "train" and all(mask.all() for mask in split.masks):
                raise UserError(
                    f"{split.origin}: expected a mask with background, values of 0, to train with, "
                    f"or --foreground. Received: none in {len(split)} masks"
                )
        return splits

    def build(self, splits, **facts):
        pictures = {part: splits[part].images for part in dataset.PARTS}
        return images.with_copies_noted(super().build(splits, **facts), pictures)

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        found = sorted(
            path for path in folder.iterdir() if tables.is_table(path) and path.name[0] != "."
        )
        if len(found) > 1:
            raise UserError(
                f"Expected one table in {folder}. Received: {found[0].name} and {found[1].name}"
            )
        splits = self._of_table(folder, found[0]) if found else self._of_folders(folder)
        return splits, self.folder_facts(folder)

    def _of_table(self, folder, path):
        files = archives.find(folder, "images")
        parts = split_column.by_part(path, self._checked(path, files), self.notes, "images")
        return {
            part: self._read(files, files, [row[1:] for row in found], str(path))
            for part, found in parts.items()
        }

    def _checked(self, path, files):
        """Yields line and split of each row, its image, the image's mask and where it stands."""
        seen = {}
        for line, split, image in tables.read(path, self.columns):
            where = f"{path}:{line}"
            mask = f"{Path(image).with_suffix('')}.mask.png"
            for kind, name in (("an image", image), ("a mask", mask)):
                if not files.has(name):
                    raise UserError(
                        f"{where}: expected {kind} that is in {files.path.name}. "
                        f"Received: {tables.short(name)}"
                    )
            if image in seen:
                raise UserError(
                    f"{where}: expected each image once. Received: "
                    f"{tables.short(image)} again, as in line {seen[image]}"
                )
            seen[image] = line
            yield line, split, image, mask, where

    def _of_folders(self, folder):
        splits = {}
        for part, names in tables.SPLIT_NAMES.items():
            places = [folder / name for name in names if (folder / name).is_dir()]
            if not places:
                if part == "validation":
                    continue
                raise UserError(f"Expected {_WANTED} in {folder}. Found: {tables.listing(folder)}")
            files = [archives.named(places[0], kind) for kind in ("images", "masks")]
            splits[part] = self._read(*files, _pairs(places[0], *files), str(places[0]))
        return splits

    def _read(self, image_files, mask_files, rows, origin):
        """The split of rows: names of an image and of its mask, and where they are told of."""
        names, mask_names, places = (list(column) for column in zip(*rows, strict=True))
        pictures, masks = [], []
        files = zip(image_files.read(names), mask_files.read(mask_names), places, strict=True)
        for (name, image), (mask_name, mask), where in files:
            image = _decoded(images.decode, image, f"{where}: {name}")
            mask = _decoded(decode_mask, mask, f"{where}: {mask_name}", self.foreground)
            image, mask = self._pair(image, mask, f"{where}: {name}")
            pictures.append(image)
            masks.append(mask)
        return Split(names, pictures, masks, origin=origin)

    def _pair(self, image, mask, where):
        """An image and its mask, shrunk where they are larger than they are to be."""
        if image.shape[:2] != mask.shape:
            sizes = [f"{columns} x {rows}" for rows, columns in (image.shape[:2], mask.shape)]
            raise UserError(
                f"{where}: expected a mask of the size of its image, {sizes[0]}. "
                f"Received: {sizes[1]}"
            )
        if self.longest_side is not None:
            image, mask = shrink(image, mask, self.longest_side)
        self._bytes += image.nbytes + mask.nbytes
        if self._bytes > _MOST_BYTES:
            raise UserError(
                f"The images take more than {_MOST_BYTES // 2**30} GiB of memory: give "
                f"{'a' if self.longest_side is None else 'a smaller'} --longest-side. "
                f"{where} is one too many"
            )
        return image, mask

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        wanted = ("image", "segmentation_mask")
        tfds.require_features(name, builder.info.features, wanted)
        datasets = tfds.load(name, builder, self.data_dir)
        splits = {
            part: self._of_tfds(datasets[official], f"{name}, split {official}")
            for part, official in tfds.official_splits(datasets).items()
        }
        return self.require_tfds(splits, name, datasets), tfds.about(builder)

    def _of_tfds(self, rows, origin):
        names, pictures, masks = [], [], []
        for number, row in enumerate(rows.as_numpy_iterator()):
            name = row.get("file_name", row.get("id", b""))
            names.append(name.decode() if isinstance(name, bytes) and name else str(number))
            where = f"{origin}: {names[-1]}"
            image = _decoded(images.decode, row["image"], where)
            mask = is_foreground(row["segmentation_mask"], self.foreground)
            image, mask = self._pair(image, mask, where)
            pictures.append(image)
            masks.append(mask)
        return Split(names, pictures, masks, origin=origin)


def decode_mask(content, foreground=None):
    """The mask in a file's bytes as boolean `(H, W)`.

    Args:
        content: Bytes of an image with integers of 1 to 32 bits, or with a palette, whose numbers
            count; or the error that came instead. JPEG and lossy WebP do not keep numbers: there
            all above 127 is foreground.
        foreground: Integer, the value that is foreground; by default all above 0.

    Raises:
        ValueError: If it is broken, or a number is asked for that it does not keep.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if isinstance(content, Exception):
            raise content
        image = Image.open(io.BytesIO(content))
        values = np.asarray(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ValueError("not an image, or of an unknown format") from None
    # Each format's reader has errors of its own.
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    if image.format in ("JPEG", "MPO") or (image.format == "WEBP" and b"VP8L" not in content[:64]):
        if foreground is not None:
            raise ValueError(f"{image.format} does not keep numbers such as --foreground")
        values = np.where(values > _HALF, values, 0)  # along an edge stand all values
    return is_foreground(values, foreground)


def is_foreground(values, foreground=None):
    """Where a mask, `(H, W)` or with channels, has foreground; see `decode_mask`.

    >>> is_foreground(np.array([[0, 1], [2, 300]])).tolist()
    [[False, True], [True, True]]
    >>> is_foreground(np.array([[0, 1], [2, 300]]), foreground=1).tolist()
    [[False, True], [False, False]]
    """
    values = np.asarray(values)
    if values.ndim == 3:  # of colours, and perhaps an opacity, which says nothing
        values = values[..., : 3 if values.shape[-1] > 2 else 1].max(axis=-1)
    return values > 0 if foreground is None else values == foreground


def shrink(image, mask, longest_side):
    """An image and its mask with sides of at most `longest_side` pixels."""
    from PIL import Image

    rows, columns = mask.shape
    scale = longest_side / max(rows, columns)
    if scale >= 1:
        return image, mask
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    smaller = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    mask = Image.fromarray(mask.astype("uint8")).resize(size, Image.Resampling.NEAREST)
    return np.asarray(smaller), np.asarray(mask) > 0


def _decoded(decode, content, where, *options):
    try:
        return decode(content, *options)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _pairs(folder, image_files, mask_files):
    """Rows for the images of two folders or zips: each with the mask of the same stem."""
    # A zip may hold a folder of its own name, so the name alone will do where it tells masks apart.
    of_path, of_name = {}, {}
    for name in filter(_is_image, mask_files.names()):
        of_path.setdefault(str(Path(name).with_suffix("")), []).append(name)
        of_name.setdefault(Path(name).stem, []).append(name)
    rows, image_of = [], {}
    for name in filter(_is_image, image_files.names()):
        found = of_path.get(str(Path(name).with_suffix(""))) or of_name.get(Path(name).stem, [])
        if len(found) != 1:
            raise UserError(
                f"{folder}: expected a mask of {name} in {mask_files.path.name}, with the same "
                f"name but for its ending. Received: {' and '.join(found[:2]) or 'none'}"
            )
        if (other := image_of.setdefault(found[0], name)) != name:
            raise UserError(
                f"{folder}: expected a mask for each image. Received: {found[0]} for {other} and "
                f"for {name}"
            )
        rows.append((name, found[0], str(folder)))
    if not rows:
        raise UserError(f"Expected images in {image_files.path}. Found none")
    return rows


def _is_image(name):
    return Path(name).suffix.lower() in _ENDINGS
