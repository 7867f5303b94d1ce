"""Tables for the terminal."""


def table(rows, *, left=1):
    """Lines of columns, the first `left` of them aligned left and the others right.

    >>> print(table([("form", "bytes"), ("tflite", "1,024")]))
    form    bytes
    tflite  1,024
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
