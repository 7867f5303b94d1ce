"""Tables in csv, tsv and jsonl files, plain or gzip: named columns, and a line for every error.

Also CoNLL files, with a token and its tag per line.

    files = find_splits(Path("my_folder"))                       # {"train": ..., "test": ...}
    for line, text, label in read(files["train"], {"text": "text", "label": "value"}):
        ...

Whatever is wrong with a file is a `UserError` that names the file and the line.
"""

import contextlib
import csv
import gzip
import itertools
import json
import math
import zlib

from recipes.kit.errors import UserError

FORMATS = ("csv", "tsv", "jsonl")
CONLL_FORMATS = ("conll", "iob", "iob2", "bio")
SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("dev", "validation", "valid", "val"),
    "test": ("test",),
}
PART_OF = {name: part for part, names in SPLIT_NAMES.items() for name in names}


def find_splits(folder, formats=FORMATS):
    """Returns the files of a folder: `train`, `test` and, if there is one, `validation`.

    Each is csv, tsv or jsonl, perhaps `.gz`. A test file may have more in its name, such as
    `test2016.csv`, if it is the only one.

    Args:
        folder: Path.
        formats: Tuple of the endings to look for, without `.gz`.

    Returns:
        Dict from the split's name to a Path.
    """
    check_folder(folder)
    files = {part: find_file(folder, names, formats) for part, names in SPLIT_NAMES.items()}
    if files["test"] is None:
        tables = _tables(folder, formats)
        files["test"] = _only([path for path in tables if path.name.startswith("test")])
    for part in ("train", "test"):
        if files[part] is None:
            raise_missing(folder, part, formats)
    return {part: path for part, path in files.items() if path is not None}


def raise_missing(folder, name, formats=FORMATS):
    """Raises because a folder has no table of this name."""
    *others, last = (f"{name}.{ending}" for ending in formats)
    raise UserError(
        f"Expected a file {', '.join(others)} or {last} (or .gz of it) in {folder}. "
        f"Found: {listing(folder)}"
    )


def listing(folder):
    """The first names in a folder, for an error message."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def check_folder(folder, wanted="train.csv and test.csv"):
    """Raises unless `folder` is one."""
    if not folder.exists():
        raise UserError(
            f"Expected `toy`, `tfds:NAME` or a folder with {wanted}. There is no folder {folder}"
        )
    if not folder.is_dir():
        raise UserError(f"Expected a folder with {wanted}. Received a file: {folder}")


def find_file(folder, names, formats=FORMATS):
    """Returns the table of one of these names, without their endings; `None` if there is none."""
    wanted = {f"{name}.{suffix}{gz}" for name in names for suffix in formats for gz in ("", ".gz")}
    return _only([path for path in _tables(folder, formats) if path.name in wanted])


def is_table(path, formats=FORMATS):
    """Whether the name of a file is that of a table."""
    return path.name.removesuffix(".gz").rpartition(".")[2] in formats


def read(path, columns):
    """Yields the line number and the values of each row of a csv, tsv or jsonl file.

    csv is quoted as usual; tsv knows no quotes. The file is in UTF-8 and has the names of its
    columns in the first line; further columns are passed over.

    Args:
        path: Path.
        columns: Dict from the name of each column to read to what it holds: `"text"`, strings
            kept as they are, perhaps empty; `"texts"`, a string or, in jsonl, a list of them,
            read as a list; `"value"`, strings or numbers, of which spaces around them are
            dropped and something is left; or `"json"`, in jsonl any value, which the reader checks.

    Yields:
        Tuples of the line, from 1, where the row begins, and the value of each column.
    """
    read_rows = _read_jsonl if ".jsonl" in path.suffixes else _read_csv
    for line, *values in _rows(path, read_rows(path, columns)):
        for index, (column, kind) in enumerate(columns.items()):
            if kind == "texts" and isinstance(values[index], str):
                values[index] = [values[index]]
            if kind == "value":
                values[index] = values[index].strip()
                if not values[index]:
                    raise UserError(
                        f"{path}:{line}: expected a value in {column!r}. Received an empty one"
                    )
        yield line, *values


def read_conll(path):
    """Yields the sentences of a CoNLL file: a token per line, a blank line between sentences.

    A line holds columns set apart by spaces or tabs: the token first, its tag last. Lines that
    begin with `-DOCSTART-`, which part documents, are passed over.

    Args:
        path: Path.

    Yields:
        Tuples of the line, from 1, where the sentence begins, its tokens and its tags, both as a
        string in which spaces set them apart.
    """
    yield from _rows(path, _sentences(path))


def read_text(path):
    """The text of a file in UTF-8, plain or `.gz`, with line feeds at the ends of its lines."""
    with _reading(path), _open(path) as file:
        return file.read().replace("\r\n", "\n")


def column_names(path):
    """The names of the columns of a csv, tsv or jsonl file; none where it cannot be read.

    What is wrong with the file is told by `read`.
    """
    try:
        with _open(path) as file, _any_field_size():
            first = next((line for line in file if line.strip()), "")
            if ".jsonl" in path.suffixes:
                row = json.loads(first)
                return list(row) if isinstance(row, dict) else []
            row = next(csv.reader([first], delimiter="\t" if ".tsv" in path.suffixes else ","))
            return [name.strip() for name in row]
    except (OSError, EOFError, ValueError, StopIteration, csv.Error, zlib.error):
        return []


def short(value):
    """`value` as a message can show it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def number(value, name, where):
    """A value of a file as a float.

    Raises:
        UserError: If it is none, or none that is finite; `name` is what it should have been, and
            `where` the place it stands at.

    >>> number(" 2.5", "'xmin'", "boxes.csv:2")
    2.5
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{where}: expected a number as {name}. Received: {short(value)}")
    return found


@contextlib.contextmanager
def _reading(path):
    """Within it what is wrong with a file is a `UserError` that names it."""
    try:
        yield
    except UnicodeDecodeError:
        raise UserError(f"{path}:{_first_line_not_utf8(path)}: expected UTF-8 text") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the gzip file is broken: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _rows(path, rows):
    """These rows of a file, of which one or more are expected; what is wrong is a `UserError`."""
    is_empty = True
    with _reading(path):
        for row in rows:
            is_empty = False
            yield row
    if is_empty:
        raise UserError(f"{path}: expected a row or more. The file is empty")


def _sentences(path):
    with _open(path) as file:
        start, tokens, tags = 1, [], []
        for line, content in enumerate(itertools.chain(file, [""]), start=1):
            columns = content.split()
            if columns and columns[0] != "-DOCSTART-":
                if len(columns) < 2:
                    raise UserError(
                        f"{path}:{line}: expected a token and its tag. Received: "
                        f"{short(columns[0])}"
                    )
                start = start if tokens else line
                tokens.append(columns[0])
                tags.append(columns[-1])
            elif tokens:
                yield start, " ".join(tokens), " ".join(tags)
                tokens, tags = [], []


def _tables(folder, formats):
    return sorted(path for path in folder.iterdir() if is_table(path, formats))


def _only(paths):
    if len(paths) > 1:
        raise UserError(
            f"Expected one file in {paths[0].parent}. Received: {paths[0].name} and {paths[1].name}"
        )
    return paths[0] if paths else None


def _open(path, mode="rt"):
    text = {"encoding": "utf-8-sig", "newline": ""} if mode == "rt" else {}
    return (gzip.open if path.suffix == ".gz" else open)(path, mode, **text)


def _read_csv(path, columns):
    is_tsv = ".tsv" in path.suffixes
    # Tab-separated files have no quotes: in SST-2's own a text may begin with one.
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if is_tsv else {"strict": True}
    with _open(path) as file, _any_field_size():
        reader = csv.reader(file, **dialect)
        line = 1
        try:
            header = None
            for fields in reader:
                if not fields:  # a blank line
                    pass
                elif header is None:
                    header = [name.strip() for name in fields]
                    indices = [_column(header, name, f"{path}:{line}") for name in columns]
                elif len(fields) != len(header):
                    raise UserError(
                        f"{path}:{line}: expected {len(header)} fields. Received: {len(fields)}"
                    )
                else:
                    yield line, *(fields[index] for index in indices)
                line = reader.line_num + 1  # where the next row begins: quotes may span lines
        except csv.Error as error:
            raise UserError(f"{path}:{line}: {error}") from None


def _column(names, name, where):
    if names.count(name) != 1:
        present = ", ".join(short(name) for name in names[:8])
        wanted = "one column" if name in names else "a column"
        raise UserError(f"{where}: expected {wanted} named {name!r}. Found: {present}")
    return names.index(name)


@contextlib.contextmanager
def _any_field_size():
    """Lifts the limit of 131,072 characters a field, which the csv module keeps for everyone."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_jsonl(path, columns):
    with _open(path) as file:
        for line, content in enumerate(file, start=1):
            if not content.strip():
                continue
            where = f"{path}:{line}"
            try:
                row = json.loads(content, object_pairs_hook=_Row)
            except ValueError as error:
                raise UserError(f"{where}: expected JSON: {error}") from None
            if not isinstance(row, dict):
                raise UserError(f"{where}: expected a JSON object. Received: {short(row)}")
            for column in columns:
                _column(row.names, column, where)
            yield line, *(json_string(row[name], name, columns[name], where) for name in columns)


class _Row(dict):
    """A JSON object that remembers names given twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def json_string(value, column, kind, where):
    """The string of a JSON value for a column, see `read`; if it is none, `where` is told."""
    if kind == "json":
        return value
    if kind == "texts" and isinstance(value, list) and value:
        return [json_string(one, column, "text", where) for one in value]
    if kind == "value" and isinstance(value, (int, float)):
        return json.dumps(value)
    if not isinstance(value, str):
        wanted = {"text": "a string", "texts": "a string or a list of strings"}.get(
            kind, "a string or a number"
        )
        raise UserError(f"{where}: expected {wanted} as {column}. Received: {short(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can name half of a surrogate pair
        raise UserError(f"{where}: expected text that can be written in UTF-8") from None
    return value


def _first_line_not_utf8(path):
    with _open(path, "rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode()
            except UnicodeDecodeError:
                return line
    raise AssertionError(f"{path} is UTF-8 after all")
