"""Labelled images: what is read, how it is split, and one clear line for everything wrong."""

import tarfile
import zipfile

import numpy as np
import pytest

from recipes.data import labelled_images
from recipes.kit.errors import UserError
from tests.recipes.data.test_captions import picture

COLOURS = {"sea": "blue", "wood": "green"}


def write(folder, *parts, count=10, suffix=".png", size=(6, 4)):
    """Images `PART/CLASS/N.png`; without parts `CLASS/N.png`."""
    for part in parts or ("",):
        for label, colour in COLOURS.items():
            (folder / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (folder / part / label / f"{number}{suffix}").write_bytes(picture(colour, size))
    return folder


def pack(folder, path):
    """Moves the contents of a folder into an archive."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:xz") as archive:
            for file in files:
                archive.add(file, file.relative_to(folder).as_posix())
    return path


def load(source, **options):
    return labelled_images.load(source, seed=0, **options)


def fails(*args, **options):
    with pytest.raises(UserError) as error:
        load(*args, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def counts(data):
    return {part: np.bincount(split.labels).tolist() for part, split in data.splits.items()}


def check_colours(data):
    images, _ = labelled_images.in_memory(data, 4)
    for part, split in data.splits.items():
        assert len(images[part]) == len(split)
        brightest = images[part].mean(axis=(1, 2)).argmax(axis=1)
        assert [data.labels[label] for label in split.labels] == [
            {2: "sea", 1: "wood"}[channel] for channel in brightest.tolist()
        ]


def test_folders_of_splits(tmp_path):
    data = load(write(tmp_path / "photos", "train", "valid", "test"))
    assert data.labels == ["sea", "wood"] and data.train.labels.dtype == np.int32
    assert counts(data) == {"train": [10, 10], "validation": [10, 10], "test": [10, 10]}
    assert data.train.names[0] == "train/sea/0.png" and not data.notes
    assert "20 / 20 / 20 images" in str(data) and "2 labels: sea, wood" in str(data)
    check_colours(data)


def test_a_validation_split_is_cut_class_by_class(tmp_path):
    data = load(write(tmp_path, "train", "test"), validation_fraction=0.2)
    assert counts(data) == {"train": [8, 8], "validation": [2, 2], "test": [10, 10]}
    assert data.notes == ["the validation images were cut from the training images"]


def test_folders_of_classes_alone(tmp_path):
    data = load(write(tmp_path))
    assert counts(data) == {"train": [7, 7], "validation": [1, 1], "test": [2, 2]}
    assert "one in 5 images of each class was cut off as the test split" in data.notes
    check_colours(data)


def test_a_validation_split_is_the_test_where_there_is_none(tmp_path):
    data = load(write(tmp_path, "train", "val"))
    assert counts(data)["test"] == [10, 10]
    assert data.notes[0] == "there is no test split; the validation split is the test here"


@pytest.mark.parametrize("ending", [".zip", ".tar.xz"])
def test_an_archive_is_read_like_a_folder(tmp_path, ending):
    folder = write(tmp_path / "photos", "train", "test")
    expected = load(folder)
    path = pack(folder, tmp_path / f"all{ending}")
    (tmp_path / "only").mkdir()
    inside = path.rename(tmp_path / "only" / path.name)
    for source in (inside, tmp_path / "only"):  # the file, or the folder with it
        data = load(source)
        assert data.train.names == expected.train.names and counts(data) == counts(expected)
        check_colours(data)


@pytest.mark.parametrize("inner", ["", "train"])
def test_an_archive_for_each_split(tmp_path, inner):
    folder = tmp_path / "data"
    folder.mkdir()
    for part, ending in (("train", ".tar.xz"), ("test", ".zip")):
        written = write(tmp_path / part, *(["photos/" + part] if inner else []))
        pack(written, folder / f"{part}{ending}")
    data = load(folder)
    assert counts(data) == {"train": [9, 9], "validation": [1, 1], "test": [10, 10]}
    assert set(data.train.names).isdisjoint(data.test.names)
    check_colours(data)
    (folder / "train.zip").touch()
    assert "one archive for the train split in" in fails(folder)


def test_what_is_no_image_of_a_class_is_passed_over(tmp_path):
    write(tmp_path, "train", "test", "extra")
    (tmp_path / "train" / "sea" / "notes.txt").write_text("a note")
    (tmp_path / "test" / "unknown.png").write_bytes(picture("red"))
    data = load(tmp_path)
    assert len(data.train) + len(data.validation) == 20 and len(data.test) == 20
    assert "20 images outside the folders of splits were passed over" in data.notes
    assert "1 images without a class were passed over" in data.notes
    assert "1 files of another kind (.txt) were passed over" in data.notes


def test_names_of_splits_in_any_case_and_no_others(tmp_path):
    write(tmp_path, "Train", "VAL", "Test", suffix=".JPG")
    assert [sum(count) for count in counts(load(tmp_path)).values()] == [20, 20, 20]
    (tmp_path / "Train").rename(tmp_path / "Training")
    (tmp_path / "Test").rename(tmp_path / "Testing")
    (tmp_path / "VAL").rename(tmp_path / "Others")
    message = fails(tmp_path)  # else one data set of all three
    assert "Received: Others/sea/0.JPG and Testing/sea/0.JPG" in message


@pytest.mark.parametrize(
    "place, received",
    [
        ("train/sea/2020", "Received: train/sea/2020/0.png"),
        ("old/train/sea", "old/train/sea/0.png and train/sea/0.png"),
    ],
)
def test_folders_that_are_no_classes(tmp_path, place, received):
    write(tmp_path, "train", "test")
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "0.png").write_bytes(picture("blue"))
    assert received in fails(tmp_path)


def test_folders_in_folders_of_classes(tmp_path):
    write(tmp_path, "sea", "wood")  # sea/sea, sea/wood
    assert "Received: sea/sea/0.png and wood/sea/0.png" in fails(tmp_path)
    for part in ("sea", "wood"):
        (tmp_path / part / "sea").rename(tmp_path / part / "train")
        (tmp_path / part / "wood").rename(tmp_path / part / "test")
    assert "Received: sea/test/0.png" in fails(tmp_path)


def test_accents_are_written_in_one_way(tmp_path):
    for part, label in (("train", "caf\u00e9"), ("train", "the"), ("test", "cafe\u0301")):
        (tmp_path / part / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / part / label / f"{number}.png").write_bytes(picture("blue"))
    assert load(tmp_path).labels == ["caf\u00e9", "the"]


def test_copies_in_other_splits_are_told(tmp_path):
    write(tmp_path, "train", "dev", "test")
    data = load(tmp_path)
    found, same = labelled_images.in_memory(data)
    assert found["test"].shape == (20, 8, 8, 3)  # no smaller, for the networks
    assert "20 of the test images also occur among the training images, pixel by pix" in str(same)
    assert "among the validation images" in str(same) and same.fingerprint == data.fingerprint
    for split in ("dev", "test"):
        for label in COLOURS:
            for number in range(10):
                content = picture((number, len(split), len(label)))
                (tmp_path / split / label / f"{number}.png").write_bytes(content)
    data = load(tmp_path)
    assert labelled_images.in_memory(data)[1] is data


def test_a_huge_image_has_no_say_in_the_size(tmp_path, monkeypatch):
    write(tmp_path, "train", "test")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    (tmp_path / "train" / "sea" / "0.png").write_bytes(picture("blue", (30, 30)))
    assert labelled_images.median_size(load(tmp_path).train) == 5
    monkeypatch.setattr(labelled_images, "_LARGEST", 4)
    assert labelled_images.median_size(load(tmp_path).train) == 4


def test_images_are_resized_to_their_median(tmp_path):
    write(tmp_path, "train", "test", size=(12, 8))
    data = load(tmp_path)
    assert labelled_images.median_size(data.train) == 10
    images, same = labelled_images.in_memory(data)
    assert images["test"].shape == (20, 10, 10, 3) and images["test"].dtype == np.uint8
    assert len(same.train) == len(data.train)


def test_images_that_are_too_much_for_the_memory(monkeypatch):
    monkeypatch.setattr(labelled_images, "_MOST_BYTES", 2**20)
    with pytest.raises(UserError, match=r"1,700 images of 32 x 32 .*--image-size, or --limit"):
        labelled_images.in_memory(load("toy"))


def test_broken_images_are_left_out_and_too_many_are_an_error(tmp_path):
    folder = write(tmp_path / "photos", "train", "test", count=60)
    whole = picture("blue")
    (folder / "train" / "sea" / "3.png").write_bytes(whole[:40])
    data = load(folder)
    images, rest = labelled_images.in_memory(data)
    (part,) = (part for part in rest.splits if len(rest.splits[part]) < len(data.splits[part]))
    assert "train/sea/3.png" not in rest.splits[part].names
    assert len(images[part]) == len(rest.splits[part]) == len(data.splits[part]) - 1
    assert images[part][..., :2].max(axis=(1, 2, 3)).any()
    check_colours(rest)
    assert "skipped 1 of 240 images, which cannot be read: train/sea/3.png (" in str(rest)
    for number in range(4, 8):
        (folder / "train" / "sea" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"5 of 240 images cannot be read, more than one in a"):
        labelled_images.in_memory(load(folder))


def test_what_is_missing_is_one_line(tmp_path):
    assert "There is no folder" in fails(tmp_path / "none")
    (tmp_path / "list.csv").write_text("a,b\n")
    assert "Received a file" in fails(tmp_path / "list.csv")
    assert "Found: list.csv" in fails(tmp_path)
    write(tmp_path, "test")
    assert "Expected train/CLASS" in fails(tmp_path)
    write(tmp_path, "train")
    (tmp_path / "test" / "sand").mkdir()
    (tmp_path / "test" / "sand" / "0.png").write_bytes(picture("red"))
    message = fails(tmp_path)
    assert "split test: expected a label that occurs in" in message
    assert "split train. Received: 'sand'" in message


def test_one_class_is_none(tmp_path):
    (tmp_path / "sea").mkdir()
    for number in range(5):
        (tmp_path / "sea" / f"{number}.png").write_bytes(picture("blue"))
    assert "two labels or more" in fails(tmp_path)


def test_limit_and_fingerprint(tmp_path):
    folder = write(tmp_path, "train", "test")
    data = load(folder, limit=4)
    assert [len(split) for split in data.splits.values()] == [2, 2, 4]
    before = load(folder).fingerprint
    assert load(folder).fingerprint == before
    (folder / "train" / "sea" / "0.png").write_bytes(picture("navy", (50, 40)))
    assert load(folder).fingerprint != before


def test_a_set_of_tensorflow_datasets(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    kinds = tfds.features
    features = {
        "id": kinds.Text(),
        "image": kinds.Image(shape=(32, 32, 3)),
        "label": kinds.ClassLabel(names=["frog", "ship"]),
    }
    pixels = {label: np.full((32, 32, 3), 9, "uint8") for label in ("ship", "frog")}
    pixels["ship"][..., 2] = pixels["frog"][..., 1] = 200
    rows = [
        (n, {"id": str(n), "image": pixels[x], "label": x}) for n, x in enumerate([*pixels] * 4)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="cifar10",
        version="3.0.2",
        features=kinds.FeaturesDict(features),
        split_datasets={"train": rows, "test": rows[:2]},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    data = load("tfds:cifar10", data_dir=tmp_path)
    assert data.labels == ["frog", "ship"]
    assert counts(data) == {"train": [3, 3], "validation": [1, 1], "test": [1, 1]}
    images, _ = labelled_images.in_memory(data)
    assert images["train"].shape == (6, 32, 32, 3)
    brightest = images["train"].mean(axis=(1, 2)).argmax(axis=1)
    assert brightest.tolist() == (data.train.labels + 1).tolist()
    assert "Found: none among text, label" in fails("tfds:imdb_reviews", data_dir=tmp_path)
