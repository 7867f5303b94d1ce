"""COCO's json files of boxes: images, categories and annotations (cocodataset.org)."""

import json
import re

from recipes.data import dataset, tables
from recipes.kit.errors import UserError

_NAME = re.compile(r"(?:instances_)?([a-z]+?)\d*\.json")


def find(folder, notes):
    """Dict from the name of a split to its file in a folder; empty if there is none.

    Args:
        folder: Path.
        notes: List, to which is added what the user should know.

    Raises:
        UserError: If there are two files for a split, or none to train with or to test.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        part = tables.PART_OF.get(match[1]) if match else None
        if part in files:
            raise UserError(
                f"Expected one file for the {part} split in {folder}. "
                f"Received: {files[part].name} and {path.name}"
            )
        if part:
            files[part] = path
    if files and "test" not in files and "validation" in files:
        files["test"] = files.pop("validation")
        notes.append("there is no test file; the validation file is the test here")
    for part in ("train", "test") if files else ():
        if part not in files:
            raise UserError(f"Expected {part}.json in {folder}. Found: {tables.listing(folder)}")
    return {part: files[part] for part in dataset.PARTS if part in files}


def read(path, notes):
    """Reads a file.

    Args:
        path: Path.
        notes: List, to which is added how many annotations of crowds were passed over.

    Returns:
        The names of the images, a list; dict from the name of an image to the height and width
        that the file has for it; and a list with, for each box, where it stands, its image, its
        label, and its left, top, right and bottom side in pixels.

    Raises:
        UserError: If it is no such file, or a box is none.
    """
    try:
        content = json.loads(tables.read_text(path))
        names = {image["id"]: image["file_name"] for image in content["images"]}
        sizes = {
            image["file_name"]: (image.get("height"), image.get("width"))
            for image in content["images"]
        }
        labels = {kind["id"]: kind["name"] for kind in content["categories"]}
        annotations = [
            (one["image_id"], one["category_id"], one["bbox"], one.get("iscrowd", 0))
            for one in content["annotations"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path}: expected COCO's json (images, categories, annotations): {reason}"
        ) from None
    if len(names) < len(content["images"]):
        raise UserError(f"{path}: expected images of different ids. Received: an id twice")
    rows, crowds = [], 0
    for number, (image, kind, sides, crowd) in enumerate(annotations):
        where = f"{path}, annotation {number + 1}"
        try:
            is_known = image in names and kind in labels
        except TypeError:  # a list is none
            is_known = False
        if not is_known:
            raise UserError(f"{where}: expected an image_id and a category_id of this file")
        if not (isinstance(sides, list) and len(sides) == 4):
            raise UserError(f"{where}: expected a bbox of four numbers. Received: {sides!r}")
        if crowd:  # a box around many, which is none of one thing
            crowds += 1
            continue
        left, top, width, height = (tables.number(side, "bbox", where) for side in sides)
        row = where, names[image], str(labels[kind]), left, top, left + width, top + height
        rows.append(row)
    if crowds:
        notes.append(f"{crowds:,} boxes around crowds in {path.name} were passed over")
    return list(names.values()), sizes, rows
