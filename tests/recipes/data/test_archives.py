"""Files beside a table: in a folder or a zip, with what is broken in their place."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
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
    assert archives.named(folder, "sounds").names() == ["deep/a.wav", "deep/b.wav"]
    with pytest.raises(UserError, match=r"Expected audio/ or audio\.zip in .* Found: \.hidden"):
        archives.named(folder, "audio")


@pytest.fixture(params=[".tar", ".tar.gz", ".tar.xz", ".tgz", ".zip", ""])
def photos(request, tmp_path):
    """A folder or archive with files in folders, and what must not be seen."""
    folder = tmp_path / "photos"
    for name in ("b/2.jpg", "a/1.jpg", "a/0.jpg", "a/.hidden.jpg", "__MACOSX/a/0.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    path = tmp_path / f"photos{request.param}"
    if request.param == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in (file for file in folder.rglob("*") if file.is_file()):
                archive.write(file, file.relative_to(folder))
    elif request.param:
        kind = {".tar": "w", ".xz": "w:xz"}.get(path.suffix, "w:gz")
        with tarfile.open(path, kind) as tar:
            tar.add(folder, ".")
    return path


def test_folders_zips_and_tars_have_the_same_names_and_contents(photos):
    files = archives.opened(photos, "images")
    assert files.names() == ["a/0.jpg", "a/1.jpg", "b/2.jpg"]
    assert files.has("a/1.jpg") and not files.has("a/2.jpg")
    wanted = ["b/2.jpg", "a/0.jpg", "a/1.jpg"]
    read = list(files.read(wanted))
    assert read == [(name, f"content of {name}".encode()) for name in wanted]
    assert len(list(files.stamps(wanted))) == 3


@pytest.mark.parametrize("name", ["a.tar", "a.tar.xz", "a.tar.gz", "a.zip"])
def test_an_archive_that_is_none(tmp_path, name):
    (tmp_path / name).write_text("no archive")
    with pytest.raises(UserError, match=rf"{name}: expected a (tar|zip) of images: "):
        archives.opened(tmp_path / name, "images")


def test_stem():
    assert archives.stem(Path("a/test.v2.tar.gz")) == "test.v2"
    assert archives.stem(Path("train.zip")) == "train" and archives.stem(Path("a.gz")) is None


def tar_of(count, kind):
    """The bytes of a tar with files of 2,000 random bytes."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{kind}") as tar:
        for number in range(count):
            entry = tarfile.TarInfo(f"a/{number}.jpg")
            entry.size = 2000
            tar.addfile(entry, io.BytesIO(rng.bytes(2000)))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["", "gz", "xz", "bz2"])
@pytest.mark.parametrize("fault", ["cut", "cut between files", "changed"])
def test_a_tar_that_is_broken_in_its_middle(tmp_path, kind, fault):
    content, path = tar_of(6, kind), tmp_path / f"a.tar.{kind}".rstrip(".")
    path.write_bytes(content)
    assert len(archives.opened(path, "images").names()) == 6
    middle = 3 * (512 + 2048) if fault == "cut between files" else len(content) // 2
    rest = b"\1" * 1500 + content[middle + 1500 :] if fault == "changed" else b""
    path.write_bytes(content[:middle] + rest)
    with pytest.raises(UserError, match=r"a\.tar.*: expected a tar of images: [^\n]+\Z"):
        archives.opened(path, "images")


def test_of_files_of_one_name_in_a_zip_the_path_tells_which(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x/a.png", "y/", "y\\a.png", "y\\b.png"):
            archive.writestr(name, name)
    files = archives.find(tmp_path, "images")
    assert files.has("b.png") and files.has("x/a.png") and not files.has("a.png")
    assert files.names() == ["x/a.png", "y/a.png", "y/b.png"]
    assert dict(files.read(["y/a.png"])) == {"y/a.png": b"y\\a.png"}


def test_linked_folders_are_read_once_around(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").touch()
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "cat").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path / "all")
    files = archives.opened(tmp_path / "all", "images")
    assert files.names() == ["cat/a.png"]
    assert not files.has("n" * 300)


def test_a_second_name_of_a_file_in_a_tar_is_a_file(tmp_path):
    (tmp_path / "a.png").write_text("content")
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    (tmp_path / "c.png").write_text("other")
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as tar:
        for name in "abc":
            tar.add(tmp_path / f"{name}.png", f"x/{name}.png")
    files = archives.opened(tmp_path / "a.tar.xz", "images")
    contents = [content for _, content in files.read(files.names())]
    assert contents == [b"content", b"content", b"other"]
