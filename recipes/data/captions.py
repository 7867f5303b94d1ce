"""Images with captions from files, from TensorFlow Datasets, or drawn by rule, all in one form.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)         # captions.csv beside images/ or images.zip
    data = load("tfds:coco_captions", seed=0)
    data.train.names, data.train.captions    # a list of captions for each image
    for image in data.train.images(160): ... # uint8 (160, 160, 3), or a BrokenImage

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import re

from recipes.data import archives, dataset, images, split_column, tables, tfds
from recipes.data.toy import scenes as toy_scenes
from recipes.kit.errors import UserError

_WANTED = "captions.csv (columns split, image, caption) beside images/ or images.zip"


@dataclasses.dataclass(frozen=True)
class Split(images.Split):
    """Names of images and, for each, its captions as they were written."""

    captions: list[list[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionedImages(images.ImageDataset):
    """A data set for captioning; attributes as of `dataset.Dataset`."""

    @property
    def examples(self):
        return sum(map(len, self.train.captions))

    def _details(self):
        return f"; {self.examples:,} captions to train with"


def words(caption):
    """The words of a caption in lower case, without punctuation.

    >>> words("A man's T-shirt , seen from behind .")
    ['a', "man's", 't-shirt', 'seen', 'from', 'behind']
    """
    return re.findall(r"\w+(?:['\u2019-]\w+)*", caption.lower())


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
                source=_ToyImages(scenes),
            )
            for part, scenes in zip(dataset.PARTS, toy_scenes.splits(), strict=True)
        }
        return splits, self.toy_facts()

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        path = tables.find_file(folder, ("captions",))
        if path is None:
            raise UserError(f"Expected {_WANTED} in {folder}. Found: {tables.listing(folder)}")
        files = archives.find(folder, "images")
        rows = self._checked(path, files)
        parts = split_column.by_part(path, rows, self.notes, "images", is_named=True)
        splits = {}
        for part, found in parts.items():
            captions = {}  # of each image
            for _, image, caption in found:
                captions.setdefault(image, []).append(caption)
            splits[part] = Split(
                list(captions), list(captions.values()), source=files, origin=str(path)
            )
        return splits, self.folder_facts(folder)

    def _checked(self, path, files):
        """Yields line, split, image and caption of each row."""
        for line, split, image, caption in tables.read(path, self.columns):
            where = f"{path}:{line}"
            if not files.has(image):
                raise UserError(
                    f"{where}: expected an image that is in {files.path.name}. "
                    f"Received: {tables.short(image)}"
                )
            if not words(caption):
                raise UserError(
                    f"{where}: expected a caption with a word. Received: {tables.short(caption)}"
                )
            yield line, split, image, caption

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
    return Split(names, captions, source=images.TfdsImages(dataset, version), origin=origin)


# -------------------------------------------------------------------- where images lie


class _ToyImages:
    def __init__(self, scenes):
        self._scenes = {scene.name: scene for scene in scenes}

    def read(self, names):
        for name in names:
            yield name, self._scenes[name].image

    def stamps(self, names):
        return [self._scenes[name].seed for name in names]
