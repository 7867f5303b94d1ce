"""Clips with labels: poses or other numbers per frame, or pictures; from files, TFDS or drawn.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0, split=2)       # clips.jsonl, or train.jsonl and test.jsonl
    data = load("my_videos", seed=0)                # train/CLASS/clip.mp4, or folders of images
    data.train.clips[0]                             # float32 (T, N); of pictures a path
    data.labels, data.is_pictures

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import functools
import hashlib
import itertools

import numpy as np

from recipes.data import dataset, images, labels, split_column, tables, tfds, videos
from recipes.data.toy import figures
from recipes.kit.errors import UserError

_WANTED = (
    "clips.jsonl (columns label, split, frames), or train.jsonl and test.jsonl, or folders "
    "train/CLASS and test/CLASS of videos"
)


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Clips, the label of each, and what changes with its content.

    A clip is a float32 array `(T, N)`; one of pictures is a path, or a function `(most, size)` to
    its frames.
    """

    clips: list
    labels: list[str]
    stamps: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledClips(labels.LabelledDataset):
    """A data set of clips; further attributes as of `labels.LabelledDataset`.

    Attributes:
        is_pictures: Whether the clips are of pictures, not of numbers.
    """

    plural = "clips"

    is_pictures: bool

    def _contents(self):
        yield repr(self.labels).encode()
        for split in self.splits.values():
            yield split.labels.tobytes()
            yield from dataset.bytes_of(split.stamps)


def load(source, **options):
    """Returns the `LabelledClips` of a source.

    A source without a validation split gets one cut from its training clips, a share of each label.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with a video and a class
            label, such as `ucf101`; or the path of a folder. In it `clips.jsonl` with the columns
            `label`, `frames` (a list of lists of numbers) and `split`, or `splits` with a list: the
            name for each of several ways to split; or `train.jsonl`, `test.jsonl` and perhaps
            `dev.jsonl` (all also `.gz`); or folders `train`, `test` and perhaps `dev` that hold a
            folder for each label, with video files or folders of images.
        label_column, frames_column: Strings, the columns of a table.
        split: Integer, which of several `splits`, from 1.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=40)
    >>> data.labels, len(data.train), data.train.clips[0].shape[1]
    (['bow', 'kick', 'squat', 'wave'], 40, 22)
    """
    return ClipReader(**options).load(source)


@dataclasses.dataclass(kw_only=True)
class ClipReader(labels.LabelledReader):
    """Reads `LabelledClips`; arguments as of `load`."""

    split_class, dataset_class = Split, LabelledClips
    key = "stamps"
    toy, toy_columns = figures, ("frames", "label", "name")
    validation_hint = "A split dev would do as well"

    label_column: str = "label"
    frames_column: str = "frames"
    split: int = 1

    @property
    def key_plural(self):
        return self.plural

    @property
    def columns(self):
        return {self.label_column: "value", self.frames_column: "json"}

    def read(self, source):
        splits, facts = super().read(source)
        if "validation" not in splits:
            self.notes.append(
                "clips cut from one recording may stand on both sides of this cut, which makes "
                "validation look better than the test"
            )
        return splits, facts

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        path = tables.find_file(folder, ("clips",), ("jsonl",))
        if path is not None:
            return self._read_parts(path), self.folder_facts(folder)
        folders = {
            part: folder / name
            for part, names in tables.SPLIT_NAMES.items()
            for name in names
            if (folder / name).is_dir()
        }
        if not folders:
            files = tables.find_splits(folder, ("jsonl",))
            splits = {part: self.read_file(path) for part, path in files.items()}
            return splits, self.folder_facts(folder)
        for part in ("train", "test"):
            if part not in folders:
                raise UserError(
                    f"Expected a folder {part} in {folder}. Found: {tables.listing(folder)}"
                )
        try:
            splits = {part: self._read_videos(path) for part, path in folders.items()}
        except OSError as error:
            raise UserError(f"Cannot read {error.filename}: {error.strerror}") from None
        return splits, self.folder_facts(folder)

    def _read_parts(self, path):
        """The splits of one table, of which a column names the split of each clip."""
        column = "splits" if "splits" in tables.column_names(path) else "split"
        parts = split_column.by_part(path, self._named(path, column), self.notes, "clips")
        return {part: self._split(path, found) for part, found in parts.items()}

    def _named(self, path, column):
        """Yields line, split, label and frames of each row of a table."""
        for line, label, frames, name in tables.read(path, {**self.columns, column: "json"}):
            where = f"{path}:{line}"
            if isinstance(name, list):
                if len(name) < self.split:
                    raise UserError(
                        f"{where}: expected {self.split} splits or more, for --split {self.split}. "
                        f"Received: {len(name)}"
                    )
                name = name[self.split - 1]
            if not isinstance(name, str):
                raise UserError(
                    f"{where}: expected the name of a split, or a list of them, as {column}. "
                    f"Received: {tables.short(name)}"
                )
            yield line, name, label, frames

    def read_file(self, path):
        return self._split(path, tables.read(path, self.columns))

    def _split(self, path, rows):
        """The split of `(line, label, frames)`."""
        lines, names, frames = map(list, zip(*rows, strict=True))
        clips = [clip_of(one, f"{path}:{line}") for line, one in zip(lines, frames, strict=True)]
        return Split(clips, names, list(map(_digest, clips)), origin=str(path), lines=lines)

    def _read_videos(self, folder):
        """The split of a folder that has a folder of clips for each label."""
        clips, others = [], []
        for of_label in _listed(folder):
            inside = _listed(of_label) if of_label.is_dir() else []
            clips += [path for path in inside if videos.is_clip(path)]
            others += [path for path in inside or [of_label] if not videos.is_clip(path)]
        if not clips:
            raise UserError(
                f"{folder}: expected a folder for each label, with video files or folders of "
                f"images. Found: {tables.listing(folder)}"
            )
        if others:
            self.notes.append(
                f"{len(others):,} files or folders that are no clips of a label, such as "
                f"{others[0].relative_to(folder.parent)}, were passed over"
            )
        stamps = []
        for path in clips:
            files = _listed(path) if path.is_dir() else [path]
            sizes = [f"{file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
            digest = hashlib.sha256(" ".join(sizes).encode()).hexdigest()[:16]
            stamps.append(f"{path.parent.name}/{path.name} {digest}")
        return Split(clips, [path.parent.name for path in clips], stamps, origin=str(folder))

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        features = builder.info.features
        found = tfds.of_kind(features, "Video")
        if len(found) != 1:
            raise UserError(f"Expected a video in {name}. Its features: {', '.join(features)}")
        label = tfds.find_label(name, features, self.label_column)
        datasets = tfds.load(name, builder, self.data_dir)
        splits = {
            part: _tfds_split(datasets[official], found[0], label, features[label].names, official)
            for part, official in tfds.official_splits(datasets).items()
        }
        return self.require_tfds(splits, name, datasets), tfds.about(builder)

    def check(self, splits):
        """Checks that all frames have equally many numbers."""
        splits = super().check(splits)
        first = splits["train"].clips[0]
        for split in splits.values():
            for row, clip in enumerate(split.clips):
                if isinstance(first, np.ndarray) and clip.shape[1] != first.shape[1]:
                    raise UserError(
                        f"{split.where(row)}: expected {first.shape[1]} numbers in a frame, as in "
                        f"{splits['train'].where(0)}. Received: {clip.shape[1]}"
                    )
        return splits

    def build(self, splits, **facts):
        is_pictures = not isinstance(splits["train"].clips[0], np.ndarray)
        return super().build(splits, is_pictures=is_pictures, **facts)


def clip_of(frames, where):
    """The float32 array `(T, N)` of a JSON value, a list of lists of numbers.

    Raises:
        UserError: If it is none; `where` is told.
    """
    try:
        clip = np.array(frames)
    except ValueError:  # lists of several lengths
        clip = np.array(None)
    if not (clip.ndim == 2 and clip.size and clip.dtype.kind in "iuf"):
        wanted = "expected frames as a list of equally long lists of numbers"
        raise UserError(f"{where}: {wanted}. Received: {_wrong(frames)}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        clip = clip.astype("float32")
    if not np.isfinite(clip).all():
        row, column = np.argwhere(~np.isfinite(clip))[0] + 1
        raise UserError(
            f"{where}: expected finite numbers in the frames. Received: NaN or infinity as number "
            f"{column} of frame {row}"
        )
    clip = clip[np.abs(clip).max(axis=1) > 0]  # a frame of zeros is none, for the model
    if not len(clip):
        raise UserError(
            f"{where}: expected a frame with a number other than 0. Received: only zeros"
        )
    return clip


def _wrong(frames):
    """What is no list of equally long lists of numbers, as a message tells it."""
    if isinstance(frames, list) and frames and isinstance(frames[0], list) and frames[0]:
        for number, frame in enumerate(frames, start=1):
            if not isinstance(frame, list):
                return f"{tables.short(frame)} as frame {number}"
            if len(frame) != len(frames[0]):
                return f"{len(frame)} numbers in frame {number}, {len(frames[0])} in the first"
            for value in frame:
                if type(value) not in (int, float) or abs(value) >= 2**63:
                    return f"{tables.short(value)} in frame {number}"
    return tables.short(frames)


def _digest(clip):
    return hashlib.sha256(clip.tobytes()).hexdigest()[:16]


def _listed(folder):
    """What is in a folder, in order, without what is hidden."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _tfds_split(rows, video, label, names, official):
    numbers = [int(number) for number in rows.map(lambda row: row[label]).as_numpy_iterator()]
    rows = _TfdsRows(rows, video)
    clips = [functools.partial(rows.read, number) for number in range(len(numbers))]
    stamps = [f"{official} {number}" for number in range(len(numbers))]
    return Split(clips, [names[number] for number in numbers], stamps, origin=official)


class _TfdsRows:
    """The videos of a TFDS split, read in one pass where they are asked for in order."""

    def __init__(self, rows, video):
        self._rows, self._video, self._next = rows, video, 0
        self._left = iter(())

    def read(self, number, most, size):
        """At most `most` frames of the clip of this number, squashed to squares; no black ones."""
        if number < self._next or not self._next:
            self._left, self._next = self._rows.as_numpy_iterator(), 0
        row = next(itertools.islice(self._left, number - self._next, None))
        self._next = number + 1
        frames = row[self._video]
        rows = videos.evenly(len(frames), most)
        return videos.seen(images.decode(frames[one], size) for one in rows)
