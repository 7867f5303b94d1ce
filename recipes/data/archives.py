"""Files such as images or sounds: in a folder, in a zip, or in a tar.

files = find(folder, "images")                 # images/, images.zip, or the only folder or zip
files.has("a.jpg")
for name, content in files.read(["a.jpg"]): ...          # bytes, or the error in their place
opened(path, "images").names()                 # all files of a folder, zip or tar, with their paths
"""

import lzma
import tarfile
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


TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz")


def opened(path, contents):
    """The files in a folder, a zip or a tar.

    Args:
        path: Path.
        contents: String, what they are called.

    Raises:
        UserError: If it is none of these, or broken.
    """
    if path.is_dir():
        return Folder(path)
    return (Tar if path.name.endswith(TARS) else Zip)(path, contents)


def stem(path):
    """The name of an archive without its ending; `None` if it is no archive.

    >>> stem(Path("a/train.tar.xz")), stem(Path("train.csv"))
    ('train', None)
    """
    endings = [ending for ending in (*TARS, ".zip") if path.name.endswith(ending)]
    return path.name.removesuffix(max(endings, key=len)) if endings else None


def is_one(path):
    """Whether a path is a folder, but for hidden ones, or a zip."""
    return not path.name.startswith(".") and (path.is_dir() or path.suffix == ".zip")


# RuntimeError: a zip that asks for a password.
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


class Folder:
    """Files in a folder."""

    def __init__(self, path):
        self.path = path

    def names(self):
        """The paths of all files below it, as strings, in order; without hidden ones."""
        return sorted(self._below(self.path, {self.path.resolve()}))

    def _below(self, folder, above):
        """The files of a folder, also in folders that links lead to, but for those above it."""
        try:
            entries = [path for path in folder.iterdir() if not _is_hidden(Path(path.name))]
        except OSError as error:
            raise UserError(f"Cannot read {folder}: {error.strerror}") from None
        for path in entries:
            if path.is_file():
                yield path.relative_to(self.path).as_posix()
            elif path.is_dir() and (place := path.resolve()) not in above:
                yield from self._below(path, {*above, place})

    def has(self, name):
        """Whether there is such a file."""
        try:
            return (self.path / name).is_file()
        except OSError:  # a name that is too long
            return False

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
                # Some tools of Windows part folders as Windows does.
                entries = {one.filename.replace("\\", "/"): one for one in archive.infolist()}
        except _BROKEN as error:
            raise UserError(f"{path}: expected a zip of {contents}: {error}") from None
        self._paths = [name for name in entries if not name.endswith("/")]
        self._entries, alike = {}, {}
        for name in self._paths:
            alike.setdefault(Path(name).name, []).append(entries[name])
        for name, some in alike.items():
            if len(some) == 1:  # else only the whole path tells which
                self._entries[name] = some[0]
        self._entries |= {name: entries[name] for name in self._paths}

    def names(self):
        return sorted(name for name in self._paths if not _is_hidden(Path(name)))

    def has(self, name):
        return name in self._entries

    def read(self, names):
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                try:
                    yield name, archive.read(self._entries[name])
                except _BROKEN as error:
                    yield name, error

    def stamps(self, names):
        return [self._entries[name].CRC for name in names]


class Tar:
    """Files in a tar, plain or compressed; methods as of `Folder`.

    It can only be read from its beginning: names are best asked for in the order of `names`.
    """

    def __init__(self, path, contents):
        self.path = path
        try:
            with tarfile.open(path) as archive:
                files = [entry for entry in archive if _is_file(entry)]
                _read_to_end(archive)
        except _BROKEN as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise UserError(f"{path}: expected a tar of {contents}: {reason}") from None
        self._stamps = {_path_in(entry): f"{entry.size} {entry.mtime}" for entry in files}

    def names(self):
        return sorted(name for name in self._stamps if not _is_hidden(Path(name)))

    def has(self, name):
        return name in self._stamps

    def read(self, names):
        # In one pass: what comes before its turn waits.
        waiting, wanted = {}, set(names)
        with tarfile.open(self.path) as archive:
            found = (
                (_path_in(entry), archive.extractfile(entry).read())
                for entry in archive
                if _is_file(entry) and _path_in(entry) in wanted
            )
            for name in names:
                while name not in waiting:
                    waiting.update([next(found)])
                yield name, waiting.pop(name)

    def stamps(self, names):
        return [self._stamps[name] for name in names]


def _is_file(entry):
    """Whether it is a file; a second name of another one, too."""
    return entry.isfile() or entry.islnk()


def _read_to_end(archive):
    """Raises unless a tar ends in zeros: `tarfile` takes what is broken in its middle for its end.

    A compressed one is checked by its own sums there.
    """
    archive.fileobj.seek(archive.offset)
    ending = archive.fileobj.read(tarfile.BLOCKSIZE)
    if not ending or ending.strip(b"\0"):
        raise tarfile.ReadError("it is broken, or ends too early")
    while ending := archive.fileobj.read(tarfile.RECORDSIZE):
        if ending.strip(b"\0"):
            raise tarfile.ReadError("more comes behind its end")


def _path_in(entry):
    return entry.name.removeprefix("./")


def _is_hidden(path):
    return any((part[0] == "." and part != "..") or part == "__MACOSX" for part in path.parts)
