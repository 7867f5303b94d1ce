"""Tables, and zips of files, as users have them."""

import csv
import gzip
import json
import zipfile


def write(path, rows, header):
    """Writes rows in the format that the file's name asks for."""
    open_ = gzip.open if path.suffix == ".gz" else open
    with open_(path, "wt", encoding="utf-8", newline="") as file:
        if ".jsonl" in path.suffixes:
            file.writelines(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
        elif ".tsv" in path.suffixes:
            file.writelines("\t".join(row) + "\n" for row in [header, *rows])
        else:
            csv.writer(file).writerows([header, *rows])


def move_into_zip(folder, path, prefix=""):
    """Moves the files of a folder into a zip; their names there begin with the prefix."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
            file.unlink()
    folder.rmdir()
