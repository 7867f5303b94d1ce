"""Images with masks: what is read, and one clear line for everything wrong."""

import io
import types

import numpy as np
import pytest

from recipes.data import masks
from recipes.kit.errors import UserError
from tests.recipes.data.files import move_into_zip

Image = pytest.importorskip("PIL.Image")


def picture(value, size=(6, 4), mode="L"):
    """The bytes of a PNG of one value."""
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "PNG")
    return file.getvalue()


def saved(array, **options):
    file = io.BytesIO()
    Image.fromarray(array, **options).save(file, "PNG")
    return file.getvalue()


HALF = np.arange(24).reshape(4, 6) % 6 >= 3  # of a mask of 6 x 4 pixels


@pytest.fixture
def folder(tmp_path):
    """A table beside images and masks."""
    (tmp_path / "pictures").mkdir()
    lines = ["split,image,kind"]
    for number, split in enumerate(("train", "train", "valid", "test", "more")):
        lines.append(f"{split},{number}.png,x")
        (tmp_path / "pictures" / f"{number}.png").write_bytes(picture(50 * number))
        mask = saved((HALF * (300 + number)).astype("uint16"))
        (tmp_path / "pictures" / f"{number}.mask.png").write_bytes(mask)
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def fails(*args, **kwargs):
    with pytest.raises(UserError) as error:
        masks.load(*args, seed=0, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_table_beside_images_and_masks(folder, kind):
    if kind == "zip":
        move_into_zip(folder / "pictures", folder / "pictures.zip", "deep/")
    data = masks.load(folder, seed=0)
    assert data.train.names == ["0.png", "1.png"] and data.test.names == ["3.png"]
    assert data.train.images[1].tolist() == np.full((4, 6, 3), 50).tolist()
    for mask in data.train.masks + data.validation.masks:
        assert mask.dtype == bool and mask.tolist() == HALF.tolist()
    assert "2 / 1 / 1 images" in str(data) and "50.0% of the pixels" in str(data)
    assert "1 image of the split 'more' was passed over" in str(data)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_folders_of_images_and_of_masks(tmp_path, kind):
    for part, count in (("train", 3), ("test", 1)):
        for what, ending in (("images", "jpg"), ("masks", "png")):
            place = tmp_path / part / what
            place.mkdir(parents=True)
            for number in range(count):
                content = saved(HALF.astype("uint8")) if what == "masks" else picture(90)
                (place / f"{number}.{ending}").write_bytes(content)
            (place / "notes.txt").touch()
            if kind == "zip":
                move_into_zip(place, place.with_suffix(".zip"))
    data = masks.load(tmp_path, seed=0)
    assert sorted(data.train.names + data.validation.names) == ["0.jpg", "1.jpg", "2.jpg"]
    assert data.test.masks[0].tolist() == HALF.tolist()
    assert any("cut from the training images" in note for note in data.notes)


def test_masks_of_every_kind():
    palette = Image.fromarray(HALF.astype("uint8") * 2)
    palette.putpalette([9, 9, 9, 0, 0, 0, 0, 0, 0])  # number 0 is not black, number 2 is
    file = io.BytesIO()
    palette.save(file, "PNG")
    colours = np.zeros((4, 6, 4), "uint8")
    colours[..., 1], colours[..., 3] = HALF * 7, 255  # opaque all over
    for content in (
        file.getvalue(),
        saved(HALF),
        saved(HALF.astype("uint8")),
        saved((HALF * 60_000).astype("uint16")),
        saved(colours),
    ):
        assert masks.decode_mask(content).tolist() == HALF.tolist()
    numbered = saved((HALF + np.uint8(1)).astype("uint8"))
    assert masks.decode_mask(numbered, foreground=2).tolist() == HALF.tolist()
    assert masks.decode_mask(numbered).all()


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_masks_in_forms_that_do_not_keep_numbers(form):
    disc = np.hypot(*np.mgrid[-32:32, -32:32]) < 20
    file = io.BytesIO()
    Image.fromarray(disc.astype("uint8") * np.uint8(255)).save(file, form, quality=75)
    found = masks.decode_mask(file.getvalue())
    assert (found != disc).mean() < 0.01  # not all that rings around its edge
    with pytest.raises(ValueError, match="does not keep numbers"):
        masks.decode_mask(file.getvalue(), foreground=1)
    Image.fromarray(disc.astype("uint8")).save(file := io.BytesIO(), "WEBP", lossless=True)
    assert masks.decode_mask(file.getvalue()).tolist() == disc.tolist()


def test_a_mask_belongs_to_one_image(tmp_path):
    for part in ("train", "test"):
        for name in ("images/a/1.png", "images/b/1.png", "masks/1.png"):
            (tmp_path / part / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / part / name).write_bytes(saved(HALF))
    message = fails(tmp_path)
    assert "a mask for each image. Received: 1.png for a/1.png and for b/1.png" in message
    (tmp_path / "train" / "masks" / "1.bmp").write_bytes(saved(HALF))
    assert "a mask of a/1.png in masks" in fails(tmp_path)
    assert "Received: 1.bmp and 1.png" in fails(tmp_path)
    for part in ("train", "test"):
        for name in ("a/1.png", "b/1.gif"):
            (tmp_path / part / "masks" / name).parent.mkdir(exist_ok=True)
            (tmp_path / part / "masks" / name).write_bytes(saved(HALF))
    data = masks.load(tmp_path, seed=0)
    assert sorted(data.train.names + data.validation.names) == ["a/1.png", "b/1.png"]


def test_images_that_are_too_much_for_the_memory(folder, monkeypatch):
    monkeypatch.setattr(masks, "_MOST_BYTES", 3 * 96)  # of an image and its mask
    assert "give a --longest-side" in fails(folder)
    assert "give a smaller --longest-side" in fails(folder, longest_side=6)
    assert len(masks.load(folder, seed=0, longest_side=4).train) == 2


def test_larger_images_are_shrunk_with_their_masks(folder):
    data = masks.load(folder, seed=0, longest_side=3)
    assert data.train.images[0].shape == (2, 3, 3) and data.train.masks[0].shape == (2, 3)
    assert data.train.masks[0].dtype == bool and 0 < data.train.masks[0].mean() < 1
    assert masks.load(folder, seed=0, longest_side=6).train.masks[0].shape == (4, 6)


def test_copies_in_other_splits_are_told(folder):
    copy = folder / "pictures" / "3.png"
    assert not any("pixel by pixel" in note for note in masks.load(folder, seed=0).notes)
    copy.write_bytes((folder / "pictures" / "0.png").read_bytes())
    note = "1 of the test images also occur among the training images, pixel by pixel"
    assert note in masks.load(folder, seed=0).notes


def test_the_fingerprint_changes_with_a_pixel(folder):
    before = masks.load(folder, seed=0).fingerprint
    assert masks.load(folder, seed=0).fingerprint == before
    other = HALF.copy()
    other[0, 0] = True
    (folder / "pictures" / "0.mask.png").write_bytes(saved(other))
    assert masks.load(folder, seed=0).fingerprint != before


def test_what_is_wrong_is_one_line(folder):
    place = folder / "pictures"
    good = (place / "1.mask.png").read_bytes()
    (place / "1.mask.png").unlink()
    message = fails(folder)
    assert "index.csv:3: expected a mask that is in pictures. Received: '1.mask.png'" in message
    (place / "1.mask.png").write_bytes(picture(1, (6, 5)))
    assert "index.csv:3: 1.png: expected a mask of the size of its image, 6 x 4" in fails(folder)
    (place / "1.mask.png").write_bytes(good[:60])
    assert "index.csv:3: 1.mask.png: " in fails(folder)
    (place / "1.mask.png").write_bytes(good)
    assert "train split. Received: none in 2 masks" in fails(folder, foreground=7)
    (place / "0.png").write_text("no image")
    assert "index.csv:2: 0.png: not an image" in fails(folder)
    for name in "01":
        (place / f"{name}.mask.png").write_bytes(picture(1))
    (place / "0.png").write_bytes(picture(0))
    assert "expected a mask with background, values of 0, to train with" in fails(folder)
    (folder / "._index.csv").touch()  # as macOS leaves them
    (folder / "more.csv").write_text("split,image\n")
    assert "Expected one table" in fails(folder)
    (folder / "more.csv").unlink()
    (folder / "index.csv").write_text("split,image\ntrain,1.png\ntrain,1.png\n")
    assert "index.csv:3: expected each image once" in fails(folder)
    (folder / "index.csv").write_text("split,image\ntrain,1.png\n")
    assert "expected rows whose split is 'test'" in fails(folder)
    (folder / "index.csv").unlink()
    assert "Expected a table" in fails(folder)
    (folder / "train" / "images").mkdir(parents=True)
    assert "Expected masks/ or masks.zip" in fails(folder)
    (folder / "train" / "masks").mkdir()
    assert "Expected images in" in fails(folder)
    (folder / "train" / "images" / "a.png").write_bytes(picture(3))
    assert "expected a mask of a.png in masks" in fails(folder)


def test_tensorflow_datasets(monkeypatch):
    class Rows(list):
        def as_numpy_iterator(self):
            return iter(self)

    row = {
        "file_name": b"cat.jpg",
        "image": np.full((4, 6, 3), 9, "uint8"),
        "segmentation_mask": np.where(HALF, 1, 2).astype("uint8")[..., None],
    }
    info = types.SimpleNamespace(features=row)
    monkeypatch.setattr(masks.tfds, "open_builder", lambda *args: types.SimpleNamespace(info=info))
    monkeypatch.setattr(masks.tfds, "about", lambda builder: {"description": "", "licence": ""})
    rows = {"train": Rows([row, {**row, "file_name": b"b.jpg"}]), "test": Rows([row])}
    monkeypatch.setattr(masks.tfds, "load", lambda *args: rows)
    data = masks.load("tfds:oxford_iiit_pet", seed=0, foreground=1)
    assert data.test.names == ["cat.jpg"] and data.test.masks[0].tolist() == HALF.tolist()
    assert "expected a mask with background" in fails("tfds:oxford_iiit_pet")  # 1 and 2
