"""Sounds and what is said in them, from files, from TensorFlow Datasets, or tones made by rule.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)           # train.csv, test.csv beside a folder or zip of wav
    data = load("tfds:speech_commands", seed=0)
    data.train.names, data.train.texts
    for samples in data.train.waveforms(8000): ...       # float32 arrays in [-1, 1]
    data.long                                  # a split of longer utterances, or None

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import collections
import dataclasses
import io
import math

import numpy as np

from recipes.data import archives, dataset, tables, tfds
from recipes.data.toy import tones as toy_tones
from recipes.kit.errors import UserError

LONG = "long"  # the name of a split of utterances longer than those to train with
AUDIO_COLUMNS = ("audio", "path", "file", "files", "speech")
TEXT_COLUMNS = ("text", "sentence", "transcript", "digits", "label")
_WANTED = (
    "train.csv and test.csv (columns audio and text), or one table with a column split too, beside "
    "a folder or zip of wav files"
)


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Names of sounds and, for each, the text that is said in it."""

    names: list[str]
    texts: list[str]
    # Knows the sounds: `read(names, rate)` and `stamps(names)`.
    source: object = dataclasses.field(metadata=dataset.SHARED)

    def waveforms(self, rate):
        """Yields the samples of each sound, a float32 array, `rate` a second.

        Raises:
            UserError: If one cannot be read, with the place of its row.
        """
        for row, samples in enumerate(self.source.read(self.names, rate)):
            if isinstance(samples, ValueError):
                raise UserError(f"{self.where(row)}: {samples}")
            yield samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterances(dataset.Dataset):
    """A data set for speech recognition; further attributes as of `dataset.Dataset`.

    Attributes:
        long: A `Split` of utterances longer than those to train with, or `None`.
    """

    plural = "utterances"

    long: Split | None = None

    @property
    def splits(self):
        return super().splits | ({LONG: self.long} if self.long else {})

    @property
    def tested(self):
        """Names of the splits to test on."""
        return ["test", LONG] if self.long else ["test"]

    def _contents(self):
        for split in self.splits.values():
            for name, text in zip(split.names, split.texts, strict=True):
                yield f"{name}\0{text}\n".encode()
            for stamp in split.source.stamps(split.names):
                yield f"{stamp}\n".encode()

    def _summary(self):
        sizes = " / ".join(f"{len(getattr(self, part)):,}" for part in dataset.PARTS)
        more = f"; {len(self.long):,} longer ones to test" if self.long else ""
        return f"{self.name}: {sizes} {self.plural} to train, validate and test{more}"


@dataclasses.dataclass(kw_only=True)
class SpeechReader(dataset.Reader):
    """Reads `Utterances`; arguments as of `load`."""

    split_class, dataset_class = Split, Utterances
    key, key_plural = "names", "sounds"
    toy, folder_contents = toy_tones, "Sounds and what is said in them"
    validation_hint = "A file or rows of a split dev would do as well"

    audio_column: str | None = None
    text_column: str | None = None
    speaker_column: str = "speaker"
    unseen_speaker: str | None = None

    def load(self, source):
        self._long = None
        return super().load(source)

    def check(self, splits):
        self._long = splits.pop(LONG, None)
        if self._long and self.limit is not None:
            self._long = self.sample(self._long)
        return splits

    def build(self, splits, **facts):
        return super().build(splits, long=self._long, **facts)

    def read(self, source):
        if self.unseen_speaker is not None and not _is_folder(source):
            raise UserError("--unseen-speaker needs a folder whose tables have a column speaker")
        return super().read(source)

    def read_toy(self):
        splits = {
            part: Split([row.name for row in rows], [row.text for row in rows], _ToySounds(rows))
            for part, rows in zip((*dataset.PARTS, LONG), toy_tones.splits(), strict=True)
        }
        return splits, self.toy_facts()

    def read_folder(self, folder):
        tables.check_folder(folder, _WANTED)
        paths = [path for path in sorted(folder.iterdir()) if tables.is_table(path)]
        if any(path.name.startswith("train.") for path in paths):
            files = tables.find_splits(folder)
            if long := tables.find_file(folder, (LONG,)):
                files[LONG] = long
        elif len(paths) == 1:
            files = {None: paths[0]}
        else:
            raise UserError(f"Expected {_WANTED} in {folder}. Found: {tables.listing(folder)}")
        sounds = _FileSounds(folder)
        rows = {}  # of each part: lines, names, texts
        for part, path in files.items():
            self._read_table(path, part, sounds, rows)
        for part, whose in (("train", "of other speakers than"), ("test", "of the speaker")):
            if part not in rows:
                said = "" if self.unseen_speaker is None else f" {whose} {self.unseen_speaker}"
                raise UserError(f"{folder}: expected utterances to {part}{said}. Received none")
        splits = {
            part: Split(names, texts, sounds, origin=str(files.get(part, paths[0])), lines=lines)
            for part, (lines, names, texts) in rows.items()
        }
        return splits, self.folder_facts(folder)

    def _read_table(self, path, part, sounds, rows):
        """Adds the rows of a table to those of its part, or each to the part that it names."""
        present = tables.column_names(path)
        columns = [
            self._column(present, self.audio_column, AUDIO_COLUMNS),
            self._column(present, self.text_column, TEXT_COLUMNS),
            *([self.speaker_column] if self.unseen_speaker is not None else []),
            *([] if part else ["split"]),
        ]
        part_of = {**tables.PART_OF, LONG: LONG}
        unused = collections.Counter()
        for line, name, text, *others in tables.read(path, dict.fromkeys(columns, "value")):
            own = part or part_of.get(others[-1])
            if own is None:
                unused[others[-1]] += 1
                continue
            if self.unseen_speaker is not None:
                is_his = others[0] == self.unseen_speaker
                if is_his != (own in ("test", LONG)):
                    continue
            name = sounds.checked(name, f"{path}:{line}")
            for column, value in zip(
                rows.setdefault(own, ([], [], [])), (line, name, " ".join(text.split())),
                strict=True,
            ):  # fmt: skip
                column.append(value)
        self.notes += [
            f"{count:,} utterances of the split {name!r} were passed over"
            for name, count in unused.items()
        ]

    @staticmethod
    def _column(present, wanted, usual):
        """The column that was asked for, or the first usual one; missing ones are told later."""
        return wanted or next((name for name in usual if name in present), usual[0])

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        features = builder.info.features
        audio = self._column(features, self.audio_column, AUDIO_COLUMNS)
        text = self._column(features, self.text_column, TEXT_COLUMNS)
        wanted = tfds.require_features(name, features, (audio, text))
        datasets = tfds.load(name, builder, self.data_dir)
        splits = {}
        for part, official in _official_splits(datasets).items():
            column = tfds.read_columns(datasets[official], {text: wanted[text]})[0]
            texts = [" ".join((value or "").split()) for value in column]
            kept = [number for number, value in enumerate(texts) if value]
            sounds = _TfdsSounds(
                datasets[official], audio, getattr(wanted[audio], "sample_rate", None),
                str(builder.info.full_name),
            )  # fmt: skip
            origin = f"{name}, split {official}"
            names = [f"{official}/{number}" for number in kept]
            splits[part] = Split(names, [texts[number] for number in kept], sounds, origin=origin)
        return self.require_tfds(splits, name, datasets), tfds.about(builder)


def _is_folder(source):
    return str(source) != dataset.TOY and not str(source).startswith(tfds.PREFIX)


def _official_splits(datasets):
    """As `tfds.official_splits`, also for splits such as `train_clean100` and `dev_clean`."""
    found = tfds.official_splits(datasets)
    for part, names in tables.SPLIT_NAMES.items():
        like = [name for name in datasets if name.startswith(tuple(f"{n}_" for n in names))]
        if part not in found and like:
            found[part] = min(like)
    return found


def decode(content, rate):
    """The samples of a wav file as a float32 array in [-1, 1]: the mean of its channels.

    Args:
        content: Bytes, PCM of 8, 16, 24 or 32 bits or floats; or an error.
        rate: Integer, samples per second of what is returned.

    Raises:
        ValueError: If it is broken, or of another format.
    """
    if isinstance(content, Exception):
        raise ValueError(f"cannot be read: {content}") from content
    import warnings

    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that it passes over
            own_rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # a broken header raises errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"expected a wav file: {reason}") from error
    return resampled(as_floats(samples), own_rate, rate)


def as_floats(samples):
    """Samples as floats in [-1, 1], the mean of the channels `(N, C)` if there are several.

    >>> as_floats(np.array([[0, 255], [128, 128]], "uint8")).tolist()
    [-0.00390625, 0.0]
    """
    if samples.dtype == np.uint8:
        samples = (samples.astype("float32") - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype("float64") / -float(np.iinfo(samples.dtype).min)
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    samples = samples.astype("float32")
    if not len(samples):
        raise ValueError("expected a sound. It has no samples")
    if not np.isfinite(samples).all():
        raise ValueError("expected numbers as samples. Received NaN or infinity")
    return samples


def resampled(samples, own_rate, rate):
    """Samples at another rate, by a polyphase filter."""
    if own_rate == rate:
        return samples
    if own_rate < 1:
        raise ValueError(f"expected samples per second above 0. Received: {own_rate}")
    from scipy.signal import resample_poly

    common = math.gcd(int(own_rate), int(rate))
    return resample_poly(samples, rate // common, own_rate // common).astype("float32")


# -------------------------------------------------------------------- where sounds lie


class _ToySounds:
    def __init__(self, rows):
        self._rows = {row.name: row for row in rows}

    def read(self, names, rate):
        for name in names:
            yield resampled(self._rows[name].samples, toy_tones.RATE, rate)

    def stamps(self, names):
        return [self._rows[name].samples.tobytes().hex()[:64] for name in names]


class _FileSounds:
    """Wav files beside a table; a name may be several, set apart by spaces, to be joined."""

    def __init__(self, folder):
        self._places = [archives.Folder(folder)]
        if any(map(archives.is_one, folder.iterdir())):
            self._places.insert(0, archives.find(folder, "audio"))

    def _place(self, part):
        return next((place for place in self._places if place.has(part)), None)

    def _parts(self, name):
        return [name] if self._place(name) else name.split()

    def checked(self, name, where):
        """The name, if there are such files."""
        for part in self._parts(name):
            if not self._place(part):
                raise UserError(
                    f"{where}: expected a wav file that is in {self._places[0].path.name}. "
                    f"Received: {tables.short(part)}"
                )
        return name

    def read(self, names, rate):
        parts = [self._parts(name) for name in names]
        if all(len(some) == 1 for some in parts):
            yield from (sound for _, sound in self._decoded([one for (one,) in parts], rate))
            return
        known = dict(self._decoded(dict.fromkeys(part for some in parts for part in some), rate))
        for some in parts:
            sounds = [known[part] for part in some]
            broken = next((sound for sound in sounds if isinstance(sound, ValueError)), None)
            yield np.concatenate(sounds) if broken is None else broken

    def _decoded(self, parts, rate):
        for place, some in self._by_place(parts):
            for part, content in place.read(some):
                try:
                    yield part, decode(content, rate)
                except ValueError as error:
                    yield part, ValueError(f"{part}: {error}")

    def _by_place(self, parts):
        """Pairs of a place and names there that follow each other, in order."""
        some, before = [], None
        for part in parts:
            place = self._place(part)
            if place is not before and some:
                yield before, some
                some = []
            some.append(part)
            before = place
        if some:
            yield before, some

    def stamps(self, names):
        parts = dict.fromkeys(part for name in names for part in self._parts(name))
        for place, some in self._by_place(parts):
            yield from place.stamps(some)


class _TfdsSounds:
    """Sounds of a TFDS split: read in one pass, in the order of the data set."""

    def __init__(self, dataset, feature, rate, version):
        self._dataset, self._feature, self._rate, self._version = dataset, feature, rate, version

    def read(self, names, rate):
        wanted = {int(name.rpartition("/")[2]) for name in names}  # in order: nothing reorders
        dataset = self._dataset.map(lambda row: row[self._feature])
        for number, samples in enumerate(dataset.as_numpy_iterator()):
            if number in wanted:
                try:
                    # Audio features are 64-bit integers that hold samples of 16 bits.
                    samples = np.asarray(samples)
                    if samples.dtype.kind == "i":
                        samples = samples.astype("int16")
                    yield resampled(as_floats(samples), self._rate or rate, rate)
                except ValueError as error:
                    yield error

    def stamps(self, names):
        return [self._version] * len(names)


def load(source, **options):
    """Returns the `Utterances` of a source.

    A source without a validation split gets one cut from its training utterances.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with sounds and texts or
            labels, such as `speech_commands`; or the path of a folder with `train.*`, `test.*` and
            perhaps `dev.*` and `long.*` (csv, tsv or jsonl, plain or `.gz`), or one such table with
            a column `split`, beside one folder or zip of wav files.
        audio_column: String, the column of the names of files, of which several in a row, set apart
            by spaces, are joined; by default the first of `AUDIO_COLUMNS` that is there.
        text_column: String, the column of the text; by default one of `TEXT_COLUMNS`.
        speaker_column: String, the column of the speaker.
        unseen_speaker: String or None; train and validate without this speaker, and test on his
            utterances alone.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> len(data.train), len(data.long), data.train.names[0]
    (100, 40, 'toy0000.wav')
    """
    return SpeechReader(**options).load(source)
