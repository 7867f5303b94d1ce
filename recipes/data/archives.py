"""Files beside a table, such as images or sounds: in a folder, or in a zip.

files = find(folder, "images")                 # images/, images.zip, or the only folder or zip
files.has("a.jpg")
for name, content in files.read(["a.jpg"]): ...          # bytes, or the error in their place
"""

import zipfile
import zlib
from pathlib import Path

from recipes.kit.errors import UserError


def find(folder, contents):
    """The files beside a table.

    Args:
        folder: Path of the folder with the table.
        contents: String, what they are called, and what their folder or zip may be called; else
            it is the only one.

    Raises:
        UserError: If there is none, or none of several has that name.
    """
    paths = sorted(path for path in folder.iterdir() if is_one(path))
    paths = [path for path in paths if path.stem == contents] or paths
    if len(paths) != 1:
        shown = " and ".join(path.name for path in paths[:2]) or "none"
        raise UserError(f"Expected one folder or zip of {contents} in {folder}. Found: {shown}")
    return Folder(paths[0]) if paths[0].is_dir() else Zip(paths[0], contents)


def named(folder, contents):
    """The files in the folder or zip `contents` of a folder.

    Raises:
        UserError: If there is none.
    """
    path = folder / contents
    if path.is_dir():
        return Folder(path)
    path = path.with_suffix(".zip")
    if not path.is_file():
        shown = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise UserError(f"Expected {contents}/ or {contents}.zip in {folder}. Found: {shown}")
    return Zip(path, contents)


def is_one(path):
    """Whether a path is a folder, but for hidden ones, or a zip."""
    return not path.name.startswith(".") and (path.is_dir() or path.suffix == ".zip")


class Folder:
    """Files in a folder."""

    def __init__(self, path):
        self.path = path

    def has(self, name):
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def names(self):
        """The names of all files, hidden ones aside, in order."""
        return sorted(
            path.name
            for path in self.path.iterdir()
            if path.is_file() and not path.name.startswith(".")
        )

    def read(self, names):
        """Yields each name and the bytes of its file, or the error that came instead."""
        for name in names:
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                yield name, error

    def stamps(self, names):
        """For each name what changes with its content."""
        for name in names:
            status = (self.path / name).stat()
            yield f"{status.st_size} {status.st_mtime_ns}"


class Zip:
    """Files in a zip, perhaps in folders there; methods as of `Folder`."""

    def __init__(self, path, contents):
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{path}: expected a zip of {contents}: {error}") from None
        self._entries = {Path(entry.filename).name: entry for entry in entries}
        self._entries |= {entry.filename: entry for entry in entries}

    def has(self, name):
        return name in self._entries

    def names(self):
        inside = (Path(name) for name in self._entries)
        return sorted({path.name for path in inside if not path.name.startswith(".")})

    def read(self, names):
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                try:
                    yield name, archive.read(self._entries[name])
                except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError) as error:
                    yield name, error

    def stamps(self, names):
        return [self._entries[name].CRC for name in names]
