"""Sounds with texts: what is read, how it is split, and one clear line for everything wrong."""

import functools
import io
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from recipes.data import speech
from recipes.kit.errors import UserError
from tests.recipes.data import files

RATE = 8000


def wav(samples, rate=RATE):
    file = io.BytesIO()
    wavfile.write(file, rate, np.asarray(samples))
    return file.getvalue()


def tone(value, count=400):
    return wav(np.full(count, value, "int16"))


write = functools.partial(files.write, header=("audio", "text"))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train.csv", [("a.wav", "one  two"), ("b.wav", "two"), ("a.wav", "one two")])
    write(tmp_path / "test.csv", [("c.wav", "one")])
    (tmp_path / "audio").mkdir()
    for name, value in {"a": 3277, "b": -3277, "c": 16384}.items():
        (tmp_path / "audio" / f"{name}.wav").write_bytes(tone(value))
    return tmp_path


def fails(source, **options):
    """Returns the one line that the user sees."""
    with pytest.raises(UserError) as caught:
        for split in speech.load(source, seed=0, **options).splits.values():
            list(split.waveforms(RATE))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def first(split, rate=RATE):
    return next(iter(split.waveforms(rate)))


def test_a_folder_of_tables_and_sounds(folder):
    write(folder / "long.csv", [("a.wav", "one two one two")])
    data = speech.load(folder, seed=0)
    assert sorted(data.train.texts + data.validation.texts) == ["one two", "one two", "two"]
    assert not set(data.train.names) & set(data.validation.names)  # a sound is on one side
    assert data.long.texts == ["one two one two"]
    assert "1 longer ones to test" in str(data) and data.sizes["long"] == 1
    np.testing.assert_allclose(first(data.test), np.full(400, 0.5), atol=1e-4)
    assert first(data.test, rate=16_000).shape == (800,)


def test_a_zip_and_paths_beside_the_table(folder):
    files.move_into_zip(folder / "audio", folder / "recordings.zip", "deep/")
    (folder / "own.wav").write_bytes(tone(8192))
    write(folder / "test.csv", [("own.wav", "one"), ("c.wav", "one"), ("deep/a.wav", "two")])
    data = speech.load(folder, seed=0)
    assert [round(float(x[0]), 2) for x in data.test.waveforms(RATE)] == [0.25, 0.5, 0.1]


JOINED = [
    ("train", "ann", "1 2 1", "a.wav b.wav a.wav"),
    ("train", "bob", "2", "b.wav"),
    ("train", "bob", "2 2", "b.wav b.wav"),
    ("valid", "ann", "1", "a.wav"),
    ("valid", "bob", "1 2", "a.wav b.wav"),
    ("test", "ann", "1 2", "a.wav c.wav"),
    ("test", "bob", "2", "c.wav"),
    ("long", "bob", "1 1 1 1", "a.wav a.wav a.wav a.wav"),
    ("extra", "bob", "1", "a.wav"),
]


@pytest.fixture
def joined(folder):
    for name in ("train", "test"):
        (folder / f"{name}.csv").unlink()
    files.write(folder / "list.csv.gz", JOINED, ("split", "speaker", "digits", "files"))
    return folder


def test_recordings_are_joined(joined):
    data = speech.load(joined, seed=0)
    assert [len(split) for split in data.splits.values()] == [3, 2, 2, 1]
    assert len(first(data.train)) == 1200
    np.testing.assert_allclose(first(data.test)[[0, -1]], [0.1, 0.5], atol=1e-3)
    assert data.train.texts[0] == "1 2 1"
    assert any("1 utterances of the split 'extra' were passed over" in note for note in data.notes)


def test_a_speaker_is_kept_for_the_test(joined):
    data = speech.load(joined, seed=0, unseen_speaker="bob")
    assert [split.texts for split in data.splits.values()] == [["1 2 1"], ["1"], ["2"], ["1 1 1 1"]]
    assert "utterances to test of the speaker eve. Received none" in fails(
        joined, unseen_speaker="eve"
    )
    assert "--unseen-speaker needs" in fails("toy", unseen_speaker="bob")


def test_the_fingerprint_changes_with_a_sound(folder):
    before = speech.load(folder, seed=0).fingerprint
    assert before == speech.load(folder, seed=0).fingerprint
    (folder / "audio" / "c.wav").write_bytes(tone(5, 401))
    assert before != speech.load(folder, seed=0).fingerprint


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
def test_kinds_of_samples_and_channels(kind):
    wanted = np.array([0.5, -0.25, 0.0], "float32")
    scale = {"uint8": 128, "int16": 2**15, "int32": 2**31}.get(kind, 1)
    samples = wanted.astype("float64") * scale + 128 * (kind == "uint8")
    both = np.stack([samples, samples], axis=1).astype(kind)
    for content in (samples.astype(kind), both):
        np.testing.assert_allclose(speech.decode(wav(content), RATE), wanted, atol=1e-6)


def test_samples_of_24_bits():
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(3)
        writer.setframerate(RATE)
        writer.writeframes(b"".join(n.to_bytes(3, "little", signed=True) for n in (1 << 22, -1)))
    np.testing.assert_allclose(speech.decode(file.getvalue(), RATE), [0.5, 0], atol=1e-6)


def test_resampling_keeps_a_tone():
    times = np.arange(16_000) / 16_000
    slow = speech.decode(wav(np.sin(2 * np.pi * 440 * times).astype("float32"), 16_000), 8000)
    np.testing.assert_allclose(
        slow[100:-100], np.sin(2 * np.pi * 440 * times[::2])[100:-100], atol=1e-2
    )


def test_what_is_wrong_is_one_line_with_file_and_row(folder):
    write(folder / "test.csv", [("c.wav", "one"), ("none.wav", "two")])
    assert "test.csv:3: expected a wav file that is in audio. Received: 'none.wav'" in fails(folder)
    write(folder / "test.csv", [("a.wav", "one"), ("c.wav", "two")])
    broken = {
        b"": "expected a wav file",
        b"RIFF1234WAVEfmt ": "expected a wav file",
        tone(5)[:30]: "expected a wav file",
        b"ID3 an mp3, say": "expected a wav file",
        wav(np.zeros(0, "int16")): "It has no samples",
        wav(np.array([np.nan], "float32")): "NaN or infinity",
    }
    for content, message in broken.items():
        (folder / "audio" / "c.wav").write_bytes(content)
        line = fails(folder)
        assert "test.csv:3: c.wav: " in line and message in line
    (folder / "two").mkdir()
    (folder / "audio").rename(folder / "sounds")
    assert "one folder or zip of audio" in fails(folder)


def test_tables_that_do_not_fit(folder):
    write(folder / "train.csv", [("a.wav", "")])
    assert "train.csv:2: expected a value in 'text'" in fails(folder)
    files.write(folder / "train.csv", [("a.wav", "x")], ("audio", "words"))
    assert "train.csv:1: expected a column named 'text'" in fails(folder)
    assert "'said'" in fails(folder, text_column="said")
    (folder / "train.csv").unlink()
    assert "expected a column named 'split'" in fails(folder)
    (folder / "test.csv").unlink()
    assert "train.csv and test.csv" in fails(folder)


@pytest.mark.parametrize("kind", ["label", "text"])
def test_sounds_of_tensorflow_datasets(tmp_path, kind):
    tfds = pytest.importorskip("tensorflow_datasets")
    said = (
        tfds.features.ClassLabel(names=["yes", "no"]) if kind == "label" else tfds.features.Text()
    )
    values = [0, 1, 0] if kind == "label" else ["yes", "no  no", "yes"]
    names = ("audio", "label") if kind == "label" else ("speech", "text")
    sounds = [np.full(400, 2**14, "int16"), np.full(300, -(2**13), "int16"), np.ones(200, "int16")]
    rows = [(key, dict(zip(names, pair, strict=True))) for key, pair in
            enumerate(zip(sounds, values, strict=True))]  # fmt: skip
    audio = tfds.features.Audio(sample_rate=4000, dtype=np.int16)
    train = "train" if kind == "label" else "train_clean100"
    tfds.dataset_builders.store_as_tfds_dataset(
        name=f"sounds_{kind}",
        version="1.0.0",
        features=tfds.features.FeaturesDict(dict(zip(names, (audio, said), strict=True))),
        split_datasets={train: rows, "test": rows[1:2]},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    data = speech.load(f"tfds:sounds_{kind}", seed=0, data_dir=tmp_path)
    assert data.test.texts == ["no"] if kind == "label" else ["no no"]
    samples = first(data.test)
    assert samples.shape == (600,)  # twice its rate
    assert samples[300] == pytest.approx(-0.25, abs=1e-2)
    assert sorted(data.train.names + data.validation.names) == [f"{train}/{n}" for n in range(3)]
    assert [len(x) for x in data.train.waveforms(4000)] == [
        len(sounds[int(name[-1])]) for name in data.train.names
    ]
