"""Captioned images: what is read, how it is split, and one clear line for everything wrong."""

import gzip
import io
import json

import numpy as np
import pytest

from recipes.data import captions
from recipes.data.images import BrokenImage, decode
from recipes.kit.errors import UserError
from tests.recipes.data.files import move_into_zip

Image = pytest.importorskip("PIL.Image")


def picture(colour, size=(6, 4), kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


ROWS = [
    ("train", "a.png", "A red wall ."),
    ("train", "a.png", "Nothing but red."),
    ("train", "b.png", "A green wall."),
    ("dev", "c.png", "A blue wall."),
    ("test", "d.png", "A man's T-shirt, seen from behind!"),
    ("unused", "e.png", "A grey wall."),
]
COLOURS = {"a": "red", "b": "green", "c": "blue", "d": "white", "e": "grey"}


def write(folder, rows=ROWS, header="split,image,caption"):
    lines = [header, *(f'{split},{image},"{caption}"' for split, image, caption in rows)]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    (tmp_path / "images").mkdir()
    for name, colour in COLOURS.items():
        (tmp_path / "images" / f"{name}.png").write_bytes(picture(colour))
    return tmp_path


def zipped(folder, prefix=""):
    move_into_zip(folder / "images", folder / "images.zip", prefix)
    return folder


def fails(*args, **kwargs):
    with pytest.raises(UserError) as error:
        captions.load(*args, seed=0, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_folder(folder):
    data = captions.load(folder, seed=0)
    assert data.train.names == ["a.png", "b.png"]
    assert data.train.captions == [["A red wall .", "Nothing but red."], ["A green wall."]]
    assert data.validation.names == ["c.png"] and data.test.names == ["d.png"]
    shown = str(data)
    assert "2 / 1 / 1 images" in shown and "3 captions" in shown
    assert "1 image of the split 'unused' was passed over" in shown
    images = list(data.train.images(5))
    assert [image.shape for image in images] == [(5, 5, 3)] * 2
    assert images[0].dtype == np.uint8 and images[0][0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("prefix", ["", "images/", "Photos/2013/"])
def test_zip_is_read_like_a_folder(folder, prefix):
    before = [image.tolist() for image in captions.load(folder, seed=0).train.images(4)]
    data = captions.load(zipped(folder, prefix), seed=0)
    assert [image.tolist() for image in data.train.images(4)] == before


def test_jsonl_gzip_and_another_name_of_the_folder(folder):
    (folder / "captions.csv").unlink()
    rows = [dict(zip(("split", "image", "caption"), row, strict=True)) for row in ROWS]
    with gzip.open(folder / "captions.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (folder / "images").rename(folder / "photos")
    assert captions.load(folder, seed=0).train.captions[1] == ["A green wall."]


def test_validation_is_cut_from_the_training_images(folder):
    write(folder, [row for row in ROWS if row[0] != "dev"])
    data = captions.load(folder, seed=0)
    assert sorted(data.train.names + data.validation.names) == ["a.png", "b.png"]
    assert "validation images were cut from the training images" in str(data)


def test_limit_and_seed():
    once, again, other = (captions.load("toy", seed=seed, limit=20) for seed in (1, 1, 2))
    assert [len(split) for split in once.splits.values()] == [20, 20, 20]
    assert once.fingerprint == again.fingerprint != other.fingerprint
    assert "only up to 20 images" in str(once)


def test_fingerprint_changes_with_captions_and_images(folder):
    before = captions.load(folder, seed=0).fingerprint
    assert captions.load(folder, seed=0).fingerprint == before
    write(folder, [*ROWS[:-2], ("test", "d.png", "Other words."), ROWS[-1]])
    changed = captions.load(folder, seed=0).fingerprint
    assert changed != before
    (folder / "images" / "a.png").write_bytes(picture("black", (9, 9)))
    assert captions.load(folder, seed=0).fingerprint not in (before, changed)
    zipped(folder)
    assert captions.load(folder, seed=0).fingerprint not in (before, changed)


def test_words():
    assert captions.words("A MAN's T-shirt , 3 dogs .") == ["a", "man's", "t-shirt", "3", "dogs"]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_kind_of_image_becomes_rgb(mode):
    file = io.BytesIO()
    Image.new("RGB", (3, 5), "red").convert(mode).save(file, "TIFF")
    assert decode(file.getvalue(), 4).shape == (4, 4, 3)


def test_a_turned_photo_is_turned_back():
    image = Image.new("RGB", (4, 4), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    assert decode(file.getvalue(), 4)[3, 3].tolist() == [255, 255, 255]


# --------------------------------------------------------------------------- broken images


def many(folder, count, broken):
    """A folder of `count` training images, some of which cannot be read."""
    rows = [("train", f"{n}.jpg", "A wall.") for n in range(count)]
    write(folder, [*rows, ("dev", "v.jpg", "A wall."), ("test", "t.jpg", "A wall.")])
    good = picture("red", (16, 16), "JPEG")
    for _, name, _ in [*rows, (0, "v.jpg", 0), (0, "t.jpg", 0)]:
        (folder / "images" / name).write_bytes(good)
    contents = [good[: len(good) // 2], b"", b"not an image"]
    for n, content in zip(broken, contents, strict=False):
        (folder / "images" / f"{n}.jpg").write_bytes(content)
    return captions.load(folder, seed=0)


def read(data):
    broken = []
    for split in data.splits.values():
        broken += [x for x in split.images(8) if isinstance(x, BrokenImage)]
    return broken


def test_broken_images_are_named_and_skipped_with_a_count(folder):
    data = many(folder, 300, broken=(7, 11, 13))
    broken = read(data)
    assert [image.name for image in broken] == ["7.jpg", "11.jpg", "13.jpg"]
    rest = data.without(broken)
    assert len(rest.train) == 297 and "7.jpg" not in rest.train.names
    assert "skipped 3 of 302 images, which cannot be read: 7.jpg (" in str(rest)


def test_more_than_one_in_a_hundred_broken_is_an_error(folder):
    data = many(folder, 98, broken=(7, 11))
    with pytest.raises(UserError, match=r"2 of 100 images cannot be read, more than.*7\.jpg \("):
        data.without(read(data))


def test_nothing_broken():
    data = captions.load("toy", seed=0, limit=10)
    assert data.without([]) is data


def test_an_entry_of_the_zip_that_is_broken(folder):
    zipped(folder)
    content = bytearray((folder / "images.zip").read_bytes())
    content[content.index(b"IHDR") + 3] ^= 255  # the first image
    (folder / "images.zip").write_bytes(content)
    images = list(captions.load(folder, seed=0).train.images(4))
    assert isinstance(images[0], BrokenImage) and "CRC" in images[0].reason
    assert isinstance(images[1], np.ndarray)


# ------------------------------------------------------------------------------ what is wrong


def test_missing_folder_and_files(folder, tmp_path):
    assert "There is no folder" in fails(tmp_path / "nowhere")
    (folder / "captions.csv").rename(folder / "words.csv")
    message = fails(folder)
    assert "Expected captions.csv" in message and "words.csv" in message


def test_no_images_or_two(folder):
    (folder / "images").rename(folder / "a")
    (folder / "b").mkdir()
    assert "Expected one folder or zip of images" in fails(folder)
    assert "Found: a and b" in fails(folder)


def test_a_zip_that_is_none(folder):
    zipped(folder)
    (folder / "images.zip").write_bytes(b"not a zip")
    assert "images.zip: expected a zip of images" in fails(folder)


def test_caption_without_image(folder):
    write(folder, [*ROWS[:2], ("train", "z.png", "A wall."), *ROWS[2:]])
    message = fails(folder)
    assert "captions.csv:4: expected an image that is in images. Received: 'z.png'" in message
    zipped(folder)
    assert "expected an image that is in images.zip. Received: 'z.png'" in fails(folder)


def test_caption_without_words(folder):
    write(folder, [*ROWS, ("train", "b.png", " . ")])
    assert "captions.csv:8: expected a caption with a word. Received: '.'" in fails(folder)
    write(folder, [*ROWS, ("train", "b.png", "")])
    assert "captions.csv:8: expected a value in 'caption'" in fails(folder)


def test_an_image_in_two_splits(folder):
    write(folder, [*ROWS, ("test", "a.png", "A wall.")])
    message = fails(folder)
    assert "captions.csv:8: expected an image to be in one split" in message
    assert "'a.png' in 'train' before and in 'test' here" in message


def test_too_few_images_to_cut_validation(folder):
    write(folder, [ROWS[0], ROWS[4]])
    message = fails(folder)
    assert "captions.csv: expected two different images or more, one of them for" in message
    assert message.endswith("Received: 1. Rows of a split dev would do as well")


def test_no_test_rows(folder):
    write(folder, [row for row in ROWS if row[0] != "test"])
    assert "expected rows whose split is 'test'. Received the splits: dev, train" in fails(folder)


# ------------------------------------------------------------------------------------ TFDS


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Images of our own, stored as TensorFlow Datasets stores COCO's."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.builder("coco_captions").info.features
    folder = tmp_path_factory.mktemp("tfds")

    def row(number, colour):
        texts = [f"A {colour} wall.", f"All {colour}."]
        return {
            "image": np.array(Image.new("RGB", (7, 5), colour)),
            "image/filename": f"{number}.jpg",
            "image/id": number,
            "captions": [{"id": n, "text": text} for n, text in enumerate(texts)],
            "objects": [],
        }

    colours = {"train": ["red", "green", "blue"], "val": ["white"], "test": ["black", "grey"]}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="coco_captions",
        config="2014",
        version="1.1.0",
        features=features,
        split_datasets={
            split: [(n, row(n, colour)) for n, colour in enumerate(some)]
            for split, some in colours.items()
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    return folder


def test_tfds(data_dir):
    data = captions.load("tfds:coco_captions", seed=0, data_dir=data_dir)
    assert data.train.names == ["0.jpg", "1.jpg", "2.jpg"]
    assert data.validation.captions == [["A white wall.", "All white."]]
    assert data.test.captions[1] == ["A grey wall.", "All grey."]
    some = data.train.take([0, 2])
    assert [image[1, 1].argmax() for image in some.images(4)] == [0, 2]
    assert len(data.fingerprint) == 64


def test_tfds_without_captions(tmp_path):
    message = fails("tfds:mnist", data_dir=tmp_path)
    assert "It has no image/filename among image, label" in message
