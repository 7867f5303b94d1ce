"""Images with boxes around things, from files, from TensorFlow Datasets, or drawn, in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)         # boxes.csv, or COCO's json, beside images/
    data = load("tfds:voc/2007", seed=0)
    data.labels                              # names of the classes, by alphabet
    data.train.names, data.train.boxes       # a list of `Box`es for each image, perhaps empty
    for image in data.train.images(): ...    # uint8 (H, W, 3), or a BrokenImage

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import collections
import dataclasses
import io
from typing import NamedTuple

import numpy as np

from recipes.data import archives, coco, dataset, images, labels, split_column, tables, tfds
from recipes.data.toy import skies
from recipes.kit.errors import UserError

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_WANTED = (
    "boxes.csv (columns split, image, label, xmin, ymin, xmax, ymax), or train.csv and test.csv, "
    "or COCO's json files, beside images/ or images.zip"
)
_BEYOND = 1.0  # pixels by which a box may stand out of its picture: some count from 1


class Box(NamedTuple):
    """A thing's label, and its sides in pixels."""

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclasses.dataclass(frozen=True)
class Split(images.Split):
    """Names of images and, for each, the boxes of the things in it.

    Attributes:
        box_lines: Dict from the name of an image to the places of its boxes, to name them in an
            error; empty where the source has no lines.
        stated: Dict from the name of an image to its height and width, as the source has them.
    """

    boxes: list[list[Box]]
    box_lines: dict = dataclasses.field(
        default_factory=dict, kw_only=True, compare=False, repr=False, metadata=dataset.SHARED
    )
    stated: dict = dataclasses.field(
        default_factory=dict, kw_only=True, compare=False, repr=False, metadata=dataset.SHARED
    )

    def truths(self, labels):
        """For each image its boxes, floats `(n, 4)`, and their classes `(n,)`."""
        number = {label: index for index, label in enumerate(labels)}
        return [
            (
                np.array([box[1:] for box in boxes], "float64").reshape(-1, 4),
                np.array([number[box.label] for box in boxes], "int64"),
            )
            for boxes in self.boxes
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxedImages(images.ImageDataset):
    """A data set for detection; attributes as of `dataset.Dataset`.

    Attributes:
        labels: List of strings, the names of the classes, by alphabet.
    """

    labels: list[str]

    def _details(self):
        boxes = [box for boxes in self.train.boxes for box in boxes]
        counts = collections.Counter(box.label for box in boxes)
        shown = ", ".join(f"{label} {counts[label]:,}" for label in self.labels[:8])
        return f"; {len(boxes):,} boxes to train with: {shown}" + ", ..." * (len(self.labels) > 8)


def load(source, **options):
    """Returns the `BoxedImages` of a source.

    A source without a validation split gets one cut from its training images.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with the features of `voc`
            and `coco`; or the path of a folder with one folder or zip of images, and beside it
            tables or COCO's json files. A table `boxes.*` (csv, tsv or jsonl, plain or `.gz`) has a
            line for each box, with the columns `split`, `image`, `label`, `xmin`, `ymin`, `xmax`
            and `ymax`, in pixels; tables `train.*`, `test.*` and perhaps `dev.*` have these
            without `split`. A line with an image alone is an image without boxes. COCO's files
            are `train.json` or `instances_train2017.json` and so on; where there is none to test,
            that to validate is the test. Boxes are those of upright pictures: a photo that its EXIF
            turns is turned first.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=20)
    >>> len(data.train), data.labels
    (20, ['moon', 'ring', 'star', 'sun'])
    """
    return BoxReader(**options).load(source)


@dataclasses.dataclass(kw_only=True)
class BoxReader(dataset.Reader):
    """Reads `BoxedImages`; arguments as of `load`."""

    split_class, dataset_class = Split, BoxedImages
    columns = dict.fromkeys(("image", "label", *_SIDES), "text")
    key = "names"
    toy, folder_contents = skies, "Images with boxes"
    tfds_contents = "images to {part} with"
    validation_hint = "Rows of a split dev would do as well"

    def read_toy(self):
        splits = {
            part: Split(
                [sky.name for sky in rows],
                [[Box(*thing) for thing in sky.boxes] for sky in rows],
                source=images.Arrays({sky.name: sky.image for sky in rows}, skies.VERSION),
                origin=dataset.TOY,
            )
            for part, rows in zip(dataset.PARTS, skies.splits(), strict=True)
        }
        return splits, self.toy_facts()

    def check(self, splits):
        """Drops boxes of no size and copies, and raises where a box is not within its picture."""
        dropped = {"of no width or height": [], "that are there twice": []}
        for part, split in splits.items():
            sizes = _sizes(split)
            rows, lines = [], {}
            for name, boxes in zip(split.names, split.boxes, strict=True):
                _check_stated(split, name, sizes)
                kept = {}
                for box, where in zip(boxes, _places(split, name, boxes), strict=True):
                    if name in sizes:  # else the picture cannot be read, which is told later
                        box = _within(box, *sizes[name], name, where)
                    if not (box.xmin < box.xmax and box.ymin < box.ymax):
                        dropped["of no width or height"].append(name)
                    elif box in kept:
                        dropped["that are there twice"].append(name)
                    else:
                        kept[box] = where
                rows.append(list(kept))
                lines[name] = list(kept.values())
            splits[part] = dataclasses.replace(split, boxes=rows, box_lines=lines)
        for kind, names in dropped.items():
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                self.notes.append(f"dropped {len(names):,} boxes {kind}, in {shown}")
        self._labels = sorted({box.label for boxes in splits["train"].boxes for box in boxes})
        if not self._labels:
            raise UserError(
                f"{splits['train'].origin}: expected at least one box in the training images"
            )
        self.notes += labels.alike(self._labels)
        for part in splits.keys() - {"train"}:
            split = splits[part]
            for name, boxes in zip(split.names, split.boxes, strict=True):
                for box, where in zip(boxes, _places(split, name, boxes), strict=True):
                    if box.label not in self._labels:
                        raise UserError(
                            f"{where}: expected a label that occurs in the training images. "
                            f"Received: {tables.short(box.label)} in {name}"
                        )
        return splits

    def stratum(self, split, row):
        return bool(split.boxes[row])  # so that there is something to validate on

    def is_needed(self, stratum):
        return stratum

    def named(self, stratum):
        return " with boxes"

    def build(self, splits, **facts):
        for part in ("validation", "test"):
            if not any(splits[part].boxes):
                raise UserError(
                    f"{splits[part].origin}: expected at least one box in the {part} images"
                )
        return super().build(splits, labels=self._labels, **facts)

    # ------------------------------------------------------------------------------- folders

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        single = tables.find_file(folder, ("boxes",))
        if single is not None:
            splits = self._read_single(single, archives.find(folder, "images"))
        elif files := coco.find(folder, self.notes):
            source = archives.find(folder, "images")
            splits = {part: self._read_json(path, source) for part, path in files.items()}
        else:
            files = tables.find_splits(folder)
            source = archives.find(folder, "images")
            splits = {
                part: _split(path, source, tables.read(path, self.columns))
                for part, path in files.items()
            }
        return splits, self.folder_facts(folder)

    def _read_single(self, path, source):
        rows = tables.read(path, {"split": "value", **self.columns})
        parts = split_column.by_part(path, rows, self.notes, "images", is_named=True)
        return {part: _split(path, source, found) for part, found in parts.items()}

    def _read_json(self, path, source):
        names, sizes, rows = coco.read(path, self.notes)
        for name in names:
            _require(source, name, str(path))
        boxes, lines = {name: [] for name in names}, {}
        for where, name, label, *sides in rows:
            _add(boxes, lines, name, Box(_label(label, where), *sides), where)
        return _of_boxes(path, source, boxes, lines, stated=sizes)

    # ------------------------------------------------------------------- TensorFlow Datasets

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        features = builder.info.features
        tfds.require_features(name, features, ("image", "objects"))
        objects = getattr(features["objects"], "feature", features["objects"])  # of a sequence
        if missing := {"bbox", "label"} - set(getattr(objects, "keys", set)()):
            raise UserError(
                f"Expected objects with bbox and label in {name}. They have no {missing.pop()}"
            )
        import tensorflow_datasets

        # As bytes: an image is decoded when it is needed, and by the same code as any other.
        decoders = {"image": tensorflow_datasets.decode.SkipDecoding()}
        datasets = tfds.load(name, builder, self.data_dir, decoders=decoders)
        labels = objects["label"].names
        splits = {
            part: _tfds_split(
                datasets[official], labels, str(builder.info.full_name),
                f"{name}, split {official}",
            )
            for part, official in tfds.official_splits(datasets).items()
        }  # fmt: skip
        # Competitions keep the boxes of their test split.
        splits = {part: split for part, split in splits.items() if any(split.boxes)}
        return self.require_tfds(splits, name, datasets), tfds.about(builder)


def _split(path, source, rows):
    """The split of a table's rows: line, image, label and four sides, as strings."""
    boxes, lines = {}, {}
    for line, image, label, *sides in rows:
        where = f"{path}:{line}"
        _require(source, image, where)
        boxes.setdefault(image, [])
        if not (label.strip() or any(side.strip() for side in sides)):
            continue  # an image without boxes
        numbers = (
            tables.number(text, f"{name!r}", where)
            for name, text in zip(_SIDES, sides, strict=True)
        )
        _add(boxes, lines, image, Box(_label(label, where), *numbers), where)
    return _of_boxes(path, source, boxes, lines)


def _add(boxes, lines, image, box, where):
    boxes[image].append(box)
    lines.setdefault(image, []).append(where)


def _of_boxes(path, source, boxes, lines, **facts):
    return Split(
        list(boxes), list(boxes.values()), source=source, origin=str(path), box_lines=lines, **facts
    )


def _require(source, image, where):
    if not (isinstance(image, str) and source.has(image)):
        raise UserError(
            f"{where}: expected an image that is in {source.path.name}. "
            f"Received: {tables.short(image)}"
        )


def _places(split, name, boxes):
    """Where the boxes of an image come from."""
    return split.box_lines.get(name) or [split.origin] * len(boxes)


def _check_stated(split, name, sizes):
    """Raises where a picture is not of the size that its boxes are for."""
    height, width = stated = split.stated.get(name, (None, None))
    is_known = all(type(side) in (int, float) and side > 0 for side in stated)
    if is_known and sizes.get(name, stated) != stated:
        rows, columns = sizes[name]
        raise UserError(
            f"{split.origin}: expected {name} to be {width} pixels wide and {height} high, as "
            f"the file has it. Received: {columns} x {rows}, turned upright as its EXIF says"
        )


def _label(text, where):
    label = text.strip()
    if not label or len(label.splitlines()) > 1:  # a file with a label per line could not hold it
        raise UserError(f"{where}: expected a label of one line. Received: {tables.short(text)}")
    return label


def _within(box, height, width, name, where):
    """The box, cut at the sides of its picture, out of which it may stand by a pixel."""
    label, *sides = box
    for side, limit, value in zip(_SIDES, (width, height) * 2, sides, strict=True):
        if not -_BEYOND <= value <= limit + _BEYOND:
            raise UserError(
                f"{where}: expected a box within {name}, which is {width} pixels wide and {height} "
                f"high. Received: {side}={value:g}"
            )
    left, top, right, bottom = sides
    return Box(label, max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height))


def _sizes(split):
    """Dict from the name of each image that can be read to its height and width."""
    sizes = {}
    names = [name for name, boxes in zip(split.names, split.boxes, strict=True) if boxes]
    for name, content in split.source.read(names):
        size = _size(content)
        if size is not None:
            sizes[name] = size
    return sizes


def _size(content):
    """Height and width of an image, from the head of its file; `None` if that cannot be read."""
    if isinstance(content, np.ndarray):
        return content.shape[:2]
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            is_turned = image.getexif().get(0x0112, 1) >= 5  # on its side
    # Each format's reader has errors of its own; an error may stand in place of the content.
    except Exception:
        return None
    return (width, height) if is_turned else (height, width)


# --------------------------------------------------------- images of TensorFlow Datasets


def _tfds_split(dataset, labels, version, origin):
    names, boxes = [], []
    for name, row in images.named_rows(dataset):
        height, width = _size(row["image"]) or (1, 1)
        names.append(name)
        boxes.append(
            [
                Box(labels[label], *(box[[1, 0, 3, 2]] * [width, height, width, height]).tolist())
                for box, label in zip(
                    row["objects"]["bbox"].astype("float64"), row["objects"]["label"], strict=True
                )
            ]
        )
    return Split(names, boxes, source=images.TfdsImages(dataset, version), origin=origin)
