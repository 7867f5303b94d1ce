"""Runs the Python of the documents, as a reader would."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_blocks(document):
    """Runs a document's Python blocks in the working folder, as one; returns their names."""
    text = document.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        above = text.count("\n", 0, block.start(1))  # so that errors name the document's line
        exec(compile("\n" * above + block[1], str(document), "exec"), names)
    return names
