"""Files beside a table: in a folder or a zip, with what is broken in their place."""

import zipfile

import pytest

from recipes.data import archives
from recipes.kit.errors import UserError
from tests.recipes.data.files import move_into_zip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sounds").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "sounds" / name).write_text(f"content of {name}")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "list.csv").touch()
    return tmp_path


def zipped(folder):
    move_into_zip(folder / "sounds", folder / "all.zip", "deep/")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_folder_and_a_zip_are_read_alike(folder, kind):
    if kind == "zip":
        zipped(folder)
    files = archives.find(folder, "audio")
    assert files.has("a.wav") and not files.has("c.wav")
    read = dict(files.read(["b.wav", "a.wav"]))
    assert list(read) == ["b.wav", "a.wav"] and read["a.wav"] == b"content of a.wav"
    first, second = files.stamps(["a.wav", "b.wav"])
    assert first != second
    assert kind == "folder" or files.has("deep/a.wav")


def test_the_one_of_the_name_is_taken_of_several(folder):
    (folder / "audio").mkdir()
    assert archives.find(folder, "audio").path.name == "audio"
    with pytest.raises(UserError, match="one folder or zip of images .* audio and sounds"):
        archives.find(folder, "images")


def test_what_is_broken(folder):
    files = archives.find(folder, "audio")
    assert isinstance(dict(files.read(["c.wav"]))["c.wav"], FileNotFoundError)
    zipped(folder)
    content = (folder / "all.zip").read_bytes()
    (folder / "all.zip").write_bytes(content.replace(b"content of b", b"CONTENT of b"))
    read = dict(archives.find(folder, "audio").read(["a.wav", "b.wav"]))
    assert read["a.wav"] == b"content of a.wav"
    assert isinstance(read["b.wav"], zipfile.BadZipFile)
    (folder / "all.zip").write_text("no zip")
    with pytest.raises(UserError, match=r"all\.zip: expected a zip of audio"):
        archives.find(folder, "audio")


def test_files_of_one_name_are_listed_in_order(folder):
    (folder / "sounds" / ".hidden").touch()
    assert archives.named(folder, "sounds").names() == ["a.wav", "b.wav"]
    (folder / "sounds" / ".hidden").unlink()
    move_into_zip(folder / "sounds", folder / "sounds.zip", "deep/")
    assert archives.named(folder, "sounds").names() == ["a.wav", "b.wav"]
    with pytest.raises(UserError, match=r"Expected audio/ or audio\.zip in .* Found: \.hidden"):
        archives.named(folder, "audio")
