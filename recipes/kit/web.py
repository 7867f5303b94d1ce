"""Pages that run a trained model in a browser: folders of static files, with no server behind them.

with new_page(config, NAME) as page:      # complete or not there
    page.export(model, signatures)        # model.tflite, compared with the model
    page.write("texts", scripts=["tokenizer.js"], files={"labels.txt": lines}, settings={...})

The scripts are those of `recipes/web`. LiteRT.js, which runs the model, is copied from where npm
has installed it, so that a page asks no other server for anything.
"""

import base64
import contextlib
import dataclasses
import hashlib
import html
import json
import re
import shutil
import string
import tempfile
from pathlib import Path

from recipes.kit import exports, run_folder
from recipes.kit.errors import UserError, cannot_load, writing
from recipes.kit.flags import argument, option

SCRIPTS = Path(__file__).parents[1] / "web"
VERSION = "2.5.3"
INSTALL = f"npm install --no-save @litertjs/core@{VERSION}"
SETTINGS = "page.json"
FORMS = {form: file for form, file in exports.FORMS.items() if form != "saved_model"}
# Where npm has put each file, and where a page has it. Of the two pairs a browser loads one.
_RUNTIME = {
    "core/package.json": "core/package.json",  # it names version and licence
    "core/dist/index.js": "core/index.js",
    "wasm-utils/dist/index.js": "wasm-utils/index.js",
    **{
        f"core/wasm/litert_wasm_{name}": f"wasm/litert_wasm_{name}"
        for kind in ("internal", "compat_internal")
        for name in (f"{kind}.js", f"{kind}.wasm")
    },
}
_IMPORTS = {"imports": {"@litertjs/wasm-utils": "./runtime/wasm-utils/index.js"}}


@dataclasses.dataclass(frozen=True)
class WebConfig:
    """What `web` can be told."""

    folder: Path = argument("folder that train wrote")
    output: Path | None = option(None, "folder to write (default: FOLDER_web)")
    form: str = option("tflite", "which form of the model the page runs", choices=tuple(FORMS))
    runtime: Path = option(Path("node_modules"), f"where LiteRT.js is, after {INSTALL}")


@contextlib.contextmanager
def new_page(config, recipe, files=()):
    """Within this context a `Page` is made; at its end it takes the place of the output.

    Args:
        config: A `WebConfig`.
        recipe: String, the recipe's name.
        files: Names of files that the run's folder must hold, beside the model.

    Raises:
        UserError: If the run, LiteRT.js or a place to write to is missing.
    """
    needed = ["model.keras", "README.md", *files]
    run_folder.find_run(config.folder, recipe=recipe, files=needed)
    _check_runtime(config.runtime)
    folder = config.folder.resolve()
    output = config.output or folder.with_name(f"{folder.name}_web")
    output = output.expanduser().resolve()
    _check_output(output, recipe)
    with contextlib.ExitStack() as stack:
        with writing("--output", output):
            output.parent.mkdir(parents=True, exist_ok=True)
            around = stack.enter_context(
                tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent)
            )
            page = Page(config, recipe, output, Path(around) / "page")
            page.path.mkdir()
        yield page
        with writing("--output", output):
            _put(page.path, output, Path(around) / "previous")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"Wrote {output}, {size / 1e6:.1f} MB")
    print(
        f'Look at it: python -m http.server --bind 127.0.0.1 --directory "{output}", then http://localhost:8000'
    )


def _put(page, output, previous):
    """Puts a page in the place of the one before, which stays if that fails."""
    is_there = output.exists()
    if is_there:
        output.rename(previous)
    try:
        page.rename(output)
    except OSError:
        if is_there:
            previous.rename(output)
        raise


def _check_output(output, recipe):
    """Only a page of the same recipe is replaced."""
    if output.is_dir():
        if not any(output.iterdir()):
            return
        try:
            if json.loads((output / SETTINGS).read_bytes())["recipe"] == recipe:
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
    if output.exists():
        raise UserError(
            f"{output} holds no page of {recipe} and is left alone. Choose another --output"
        )


def _check_runtime(folder):
    """Raises a `UserError` where LiteRT.js is not whole, or of another version."""
    modules = folder / "@litertjs"
    missing = [name for name in _RUNTIME if not (modules / name).is_file()]
    if missing:
        raise UserError(
            f"Expected LiteRT.js in --runtime {folder}. There is no @litertjs/{missing[0]}. "
            f"Install it by: {INSTALL}"
        )
    try:
        version = json.loads((modules / "core" / "package.json").read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        version = "nothing readable"
    if version != VERSION:
        raise UserError(
            f"Expected LiteRT.js {VERSION} in --runtime {folder}. Received: {version}. "
            f"Install it by: {INSTALL}"
        )


@dataclasses.dataclass(frozen=True)
class Page:
    """A page that is being made.

    Attributes:
        config: A `WebConfig`.
        recipe: String.
        output: Path of the folder that it will be.
        path: Path of the folder that it is made in.
    """

    config: WebConfig
    recipe: str
    output: Path
    path: Path

    def load_model(self):
        """The trained model. The modules of its layers must have been imported."""
        return run_folder.load_model(self.config.folder)

    def export(self, model, signatures, **kwargs):
        """Writes `model.tflite` once it has computed what the model does.

        Args:
            model, signatures: As for `ka.export_model`. LiteRT.js takes fixed sizes alone, that of
                the batch too, and no strings.
            kwargs: Further arguments of `ka.export_model`.
        """
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            exports.export(
                model, Path(folder), formats=self.config.form, signatures=signatures, **kwargs
            )
            (Path(folder) / FORMS[self.config.form]).rename(self.path / "model.tflite")

    def write(self, kind, *, scripts, files, settings):
        """Writes everything else.

        Args:
            kind: String, `"texts"` or `"captions"`: the names of its script and of its HTML.
            scripts: List of names of further scripts that it imports.
            files: Dict from the name of a file to its content: bytes, a list of lines, or what
                becomes JSON.
            settings: Dict of what the script has to know, which becomes `page.json`.
        """
        title, about = _card(self.config.folder / "README.md")
        imports = json.dumps(_IMPORTS)
        digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
        shell = string.Template((SCRIPTS / "page.html").read_text(encoding="utf-8"))
        page = shell.substitute(
            title=html.escape(title),
            hash=f"sha256-{digest}",
            importmap=imports,
            script=f"{kind}.js",
            main=(SCRIPTS / f"{kind}.html").read_text(encoding="utf-8").strip(),
            about=about,
        )
        files = {
            "index.html": page.splitlines(),
            SETTINGS: {"recipe": self.recipe, **settings},
            **files,
        }
        with writing("--output", self.output):
            for name, content in files.items():
                (self.path / name).write_bytes(_as_bytes(content))
            for name in ("style.css", "litert.js", "page.js", f"{kind}.js", *scripts):
                shutil.copyfile(SCRIPTS / name, self.path / name)
            for source, target in _RUNTIME.items():
                copy = self.path / "runtime" / target
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.config.runtime / "@litertjs" / source, copy)


def _as_bytes(content):
    if isinstance(content, bytes):
        return content
    if isinstance(content, list):
        return "".join(f"{line}\n" for line in content).encode()
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _card(path):
    """Title and HTML of what a model card says that readers of a page should know."""
    try:
        text = path.read_text(encoding="utf-8")
        title, *sections = re.split(r"^##? (.*)$", text, flags=re.MULTILINE)[1:]
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error
    about = []
    for heading, section in zip(sections[1::2], sections[2::2], strict=True):
        if heading in ("What it does", "Limits"):
            about.append(f"<h2>{heading}</h2>")
            for paragraph in section.strip().split("\n\n"):
                marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(paragraph))
                about.append(f"<p>{marked}</p>")
    summary = "<summary>About this model</summary>"
    return title, "\n".join(["<details>", summary, *about, "</details>"])
