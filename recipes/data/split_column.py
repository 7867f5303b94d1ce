"""A table with a column that names the split of each row."""

from recipes.data import dataset, tables
from recipes.kit.errors import UserError


def by_part(path, rows, notes, what, *, is_named=False):
    """The rows of each part.

    Args:
        path: Path of the table.
        rows: Iterable of `(line, split, *values)`.
        notes: List, to which is added what was passed over: rows of splits of other names.
        what: String, what the rows are, such as `"images"`.
        is_named: Whether the first value names an image, of which all rows are in one split.

    Returns:
        Dict from the name of a part to a list of `(line, *values)`, in the order of
        `dataset.PARTS`.

    Raises:
        UserError: If there is nothing to train with or to test, or an image is in two splits.

    >>> notes = []
    >>> rows = [(2, "train", "a.png"), (3, "test", "b.png"), (4, "extra", "c.png")]
    >>> by_part("images.csv", rows, notes, "images")
    {'train': [(2, 'a.png')], 'test': [(3, 'b.png')]}
    >>> notes
    ["1 image of the split 'extra' was passed over"]
    """
    found, split_of, unused = {}, {}, {}
    for line, split, *values in rows:
        name = values[0] if is_named else line
        if split_of.setdefault(name, split) != split:
            raise UserError(
                f"{path}:{line}: expected an image to be in one split. Received: "
                f"{tables.short(name)} in {split_of[name]!r} before and in {split!r} here"
            )
        if split in tables.PART_OF:
            found.setdefault(tables.PART_OF[split], []).append((line, *values))
        else:
            unused.setdefault(split, set()).add(name)
    for part in ("train", "test"):
        if part not in found:
            present = ", ".join(sorted(set(split_of.values()))[:8]) or "none"
            raise UserError(
                f"{path}: expected rows whose split is {part!r}. Received the splits: {present}"
            )
    for split, names in unused.items():
        counted = f"1 {what[:-1]}" if len(names) == 1 else f"{len(names):,} {what}"
        verb = "was" if len(names) == 1 else "were"
        notes.append(f"{counted} of the split {split!r} {verb} passed over")
    return {part: found[part] for part in dataset.PARTS if part in found}
