"""The modules of pages in Node, which has no window: what they compute."""

import json
import shutil
import subprocess

import pytest

from recipes.kit.web import SCRIPTS


def in_node(folder, code, data):
    """What JavaScript makes of data; skips the test where there is no Node.

    Args:
        folder: Path of an empty folder.
        code: String, the JavaScript: a module that assigns `made` from `given`, beside those of
            `recipes/web`.
        data: What can be written as JSON.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js: node is not installed")
    for path in SCRIPTS.glob("*.js"):
        shutil.copyfile(path, folder / path.name)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "given.json").write_text(json.dumps(data))
    module = (
        'import fs from "node:fs";\n'
        'const given = JSON.parse(fs.readFileSync("given.json", "utf8"));\nlet made;\n'
        f'{code}\nfs.writeFileSync("made.json", JSON.stringify(made));\n'
    )
    (folder / "test.js").write_text(module)
    done = subprocess.run([node, "test.js"], cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return json.loads((folder / "made.json").read_text())
