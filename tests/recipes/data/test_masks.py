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
    assert "1 images of other splits were passed over" in str(data)


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


def test_larger_images_are_shrunk_with_their_masks(folder):
    data = masks.load(folder, seed=0, longest_side=3)
    assert data.train.images[0].shape == (2, 3, 3) and data.train.masks[0].shape == (2, 3)
    assert data.train.masks[0].dtype == bool and 0 < data.train.masks[0].mean() < 1
    assert masks.load(folder, seed=0, longest_side=6).train.masks[0].shape == (4, 6)


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
    assert masks.load("tfds:oxford_iiit_pet", seed=0).test.masks[0].all()
