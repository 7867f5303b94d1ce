"""Clips from files, one table or several, folders of pictures, and what is wrong with them."""

import json

import numpy as np
import pytest

from recipes.data import motions
from recipes.kit.errors import UserError
from tests.recipes.data.files import write

FRAMES = [[[float(row), 1.0], [2.0, row + 1.0]] for row in range(20)]
ROWS = [("run" if row % 2 else "sit", FRAMES[row]) for row in range(20)]


def picture(path, colour):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), colour, "uint8")).save(path)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_tables_of_clips(tmp_path, ending):
    write(tmp_path / f"train.{ending}", ROWS[:12], ("label", "frames"))
    write(tmp_path / f"test.{ending}", ROWS[12:], ("label", "frames"))
    data = motions.load(tmp_path, seed=0, validation_fraction=0.2)
    assert data.labels == ["run", "sit"] and not data.is_pictures
    assert [len(split) for split in data.splits.values()] == [10, 2, 8]
    assert sorted(data.validation.labels) == [0, 1]  # a share of each
    np.testing.assert_array_equal(data.test.clips[0], np.float32(FRAMES[12]))
    assert any("one recording" in note for note in data.notes)
    other = motions.load(tmp_path, seed=1, validation_fraction=0.2)
    assert other.fingerprint != data.fingerprint


def test_one_table_with_several_ways_to_split(tmp_path):
    parts = [["train" if row < 14 else "test", "test" if row < 4 else "train"] for row in range(20)]
    rows = [(*row, part) for row, part in zip(ROWS, parts, strict=True)]
    write(tmp_path / "clips.jsonl.gz", rows, ("label", "frames", "splits"))
    sizes = [len(motions.load(tmp_path, seed=0, split=split).test) for split in (1, 2)]
    assert sizes == [6, 4]
    with pytest.raises(UserError, match=r"clips\.jsonl\.gz:1: expected 3 splits.*--split"):
        motions.load(tmp_path, seed=0, split=3)


def test_one_table_with_a_name_of_the_split(tmp_path):
    names = ["train"] * 10 + ["val"] * 4 + ["test"] * 4 + ["other"] * 2
    rows = [(*row, name) for row, name in zip(ROWS, names, strict=True)]
    write(tmp_path / "clips.jsonl", rows, ("label", "frames", "split"))
    data = motions.load(tmp_path, seed=0)
    assert [len(split) for split in data.splits.values()] == [10, 4, 4]
    assert data.notes == ["2 clips of the split 'other' were passed over"]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([[1, 2], [3]], "equally long lists"),
        ([[1, 2], "a"], "equally long lists"),
        ([["1", "2"]], "equally long lists"),
        ([], "equally long lists"),
        ("[[1, 2]]", "equally long lists"),
        ([[1, 2], [3]], "1 numbers in frame 2, 2 in the first"),
        ([[1, 2], [3, None]], "None in frame 2"),
        ([[1, 2], [3, "4"]], "'4' in frame 2"),
        ([[1, 10**400]], "0 in frame 1|00... in frame 1"),
        ([[[1, 2], [3, 4]]], r"\[1, 2\] in frame 1"),
        (None, "Received: None"),
        ([[1, 2], [3, 1e39]], "number 2 of frame 2"),
        ([[1, float("nan")]], "finite"),
        ([[0, 0], [0, 0]], "other than 0"),
        ([[1, 2, 3]], r"expected 2 numbers in a frame, as in .*jsonl:1"),
    ],
)
def test_wrong_frames_are_named_with_their_line(tmp_path, frames, message):
    for name in ("train", "test"):
        write(tmp_path / f"{name}.jsonl", ROWS, ("label", "frames"))
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(json.dumps({"label": "run", "frames": frames}) + "\n")
    with pytest.raises(UserError, match=message) as error:
        motions.load(tmp_path, seed=0)
    assert "train.jsonl:21" in str(error.value)


def test_frames_of_zeros_are_none():
    assert motions.clip_of([[0, 0], [1, 2], [0, 0]], "here").tolist() == [[1, 2]]


def test_a_split_that_is_missing_or_no_name(tmp_path):
    rows = [(*row, "train") for row in ROWS]
    write(tmp_path / "clips.jsonl", rows, ("label", "frames", "split"))
    with pytest.raises(UserError, match="whose split is 'test'"):
        motions.load(tmp_path, seed=0)
    write(tmp_path / "clips.jsonl", [(*ROWS[0], 3)], ("label", "frames", "split"))
    with pytest.raises(UserError, match=r"clips\.jsonl:1: expected the name of a split"):
        motions.load(tmp_path, seed=0)


def test_folders_of_pictures(tmp_path):
    for part, count in (("train", 4), ("test", 2)):
        for number in range(count):
            for label in ("run", "sit"):
                folder = tmp_path / part / label / f"clip{number}"
                for frame in range(3):
                    picture(folder / f"{frame}.png", 10 * frame)
    data = motions.load(tmp_path, seed=0)
    assert data.is_pictures and data.labels == ["run", "sit"]
    assert [len(split) for split in data.splits.values()] == [6, 2, 4]
    before = data.fingerprint
    picture(tmp_path / "test" / "run" / "clip0" / "9.png", 3)
    assert motions.load(tmp_path, seed=0).fingerprint != before


def test_what_is_no_clip_is_told_and_what_is_hidden_is_not(tmp_path):
    for part in ("train", "test"):
        for label in ("run", "sit"):
            for number in range(2):
                picture(tmp_path / part / label / f"clip{number}" / "0.png", 50)
            (tmp_path / part / label / "._clip.mp4").touch()
    data = motions.load(tmp_path, seed=0)
    assert len(data.test) == 4 and not any("passed over" in note for note in data.notes)
    (tmp_path / "test" / "run" / "film.xyz").touch()
    picture(tmp_path / "test" / "run" / "deep" / "clip" / "0.png", 50)
    note = "2 files or folders that are no clips of a label, such as test/run/deep, were passed"
    assert note in str(motions.load(tmp_path, seed=0))
    (tmp_path / "test" / "run" / "film.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(UserError, match=r"Cannot read .*film\.mp4: No such file"):
        motions.load(tmp_path, seed=0)


def test_folders_without_clips(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="Expected a folder test"):
        motions.load(tmp_path, seed=0)
    (tmp_path / "test" / "run").mkdir(parents=True)
    with pytest.raises(UserError, match="a folder for each label"):
        motions.load(tmp_path, seed=0)


class Rows(list):
    """As much of a `tf.data.Dataset` as is read."""

    def as_numpy_iterator(self):
        return iter(self)

    def map(self, function):
        return Rows(map(function, self))


def test_clips_of_tensorflow_datasets_are_read_in_any_order():
    videos = [np.full((5, 4, 4, 3), number + 1, "uint8") for number in range(4)]
    rows = Rows({"video": video, "label": n % 2} for n, video in enumerate(videos))
    split = motions._tfds_split(rows, "video", "label", ["run", "sit"], "train")
    assert split.labels == ["run", "sit", "run", "sit"]
    for number in (0, 1, 3, 2, 0):
        frames = split.clips[number](3, 4)
        assert len(frames) == 3 and (frames[0] == number + 1).all()
