"""What stays off the terminal, and what does not. The libraries are stand-ins that write alike."""

import subprocess
import sys

import pytest

from tests.documents import ROOT

WRITES = """
import os
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written\\n")
os.write(2, b"I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.\\n")
os.write(2, b"E0000 00:00:1.2 3 a fault\\n")
"""


@pytest.fixture
def imports(tmp_path):
    """Imports stand-ins in a new process; returns what stood on standard error."""

    def run(code):
        for name in ("tensorflow", "other"):
            (tmp_path / f"{name}.py").write_text(code)
        script = "from recipes.kit.quiet import hide_remarks; hide_remarks(); hide_remarks()\n"
        script += f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        script += "import tensorflow; import other"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
        )
        return done.stderr

    return run


def test_remarks_of_tensorflow_alone_are_dropped(imports):
    lines = [line.partition(" ")[0] for line in imports(WRITES).splitlines()]
    assert lines == ["E0000", "WARNING:", "I0000", "E0000"]


def test_what_a_failed_import_wrote_is_shown(imports):
    shown = imports(WRITES + "raise ImportError('no such kernel')\n")
    assert shown.startswith("E0000") and "no such kernel" in shown and "I0000" not in shown
