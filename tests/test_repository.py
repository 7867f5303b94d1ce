"""House rules: what is true of every file. Each failure says what to do instead."""

import ast
import configparser
import inspect
import re
from pathlib import Path

import keras
import pytest

import keras_attention as ka

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "keras_attention").rglob("*.py")) + sorted(
    (ROOT / "recipes").rglob("*.py")
)
PACKAGE = [path for path in SOURCES if "keras_attention" in path.relative_to(ROOT).parts]
# Files that hold no public layer of their own.
BASES = {
    "layers": ["base", "stepwise", "transformer_block"],
    "recurrent": ["additive", "base", "cells", "from_addons", "time_loop"],
    "scores": ["dot_product", "names", "score"],
}
LAYER_FILES = [
    path
    for folder, bases in BASES.items()
    for path in sorted((ROOT / "keras_attention" / folder).glob("*.py"))
    if path.stem not in ["__init__", *bases]
]


def _id(path):
    return str(path.relative_to(ROOT))


def _public_class(path):
    (name,) = re.findall(r"^class ([A-Z]\w+)", path.read_text(), re.MULTILINE)
    return name


@pytest.mark.parametrize("path", LAYER_FILES, ids=_id)
def test_every_layer_is_exported_registered_and_documented(path):
    name = _public_class(path)
    assert name in ka.__all__, f"export {name} in keras_attention/__init__.py"
    cls = getattr(ka, name)
    registered = keras.saving.get_registered_name(cls)
    assert registered == f"keras_attention>{name}", f"register {name} for serialization"
    for section in ("Example:", "Reference:"):
        assert section in cls.__doc__, f"add a section {section} to the docstring of {name}"
    assert ">>>" in cls.__doc__, f"make the example of {name} a doctest"
    assert "https://" in cls.__doc__, f"name the paper's address in the docstring of {name}"
    arguments = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    missing = [a for a in arguments if not re.search(rf"\b{a}\b", cls.__doc__)]
    assert not missing, f"describe {missing} in the docstring of {name}"


@pytest.mark.parametrize("path", LAYER_FILES, ids=_id)
def test_every_layer_has_a_mirror_test(path):
    mirror = ROOT / "tests" / path.parent.name / f"test_{path.name}"
    assert mirror.exists(), f"write {mirror.relative_to(ROOT)}"


def test_public_names_are_sorted_and_exist():
    assert list(ka.__all__) == sorted(ka.__all__)
    assert all(hasattr(ka, name) for name in ka.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_no_private_keras(path):
    assert "keras.src" not in path.read_text(), "use Keras' public names only"


@pytest.mark.parametrize("path", PACKAGE, ids=_id)
def test_no_softmax_outside_the_normalizers(path):
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("softmax")
    ]
    assert not calls or path.name == "normalize.py", (
        f"use functional.normalize.softmax, which masks, in lines {calls}"
    )


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_no_assert_outside_tests(path):
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not found, f"raise a ValueError that says what was expected, lines {found}"


@pytest.mark.parametrize("path", PACKAGE, ids=_id)
def test_heavy_libraries_are_imported_where_used(path):
    heavy = {"tensorflow", "tensorflow_text", "ai_edge_litert", "matplotlib", "jax"}
    for node in ast.parse(path.read_text()).body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found = heavy & {name.partition(".")[0] for name in names}
        assert not found, f"import {found} inside the function that uses it"


@pytest.mark.parametrize("path", PACKAGE, ids=_id)
def test_the_package_does_not_know_the_recipes(path):
    assert not re.search(r"^\s*(import|from) recipes", path.read_text(), re.MULTILINE)


def test_no_recipe_imports_another():
    recipes = {p.stem for p in (ROOT / "recipes").glob("*.py")} - {"__init__"}
    main_files = [ROOT / "recipes" / f"{name}.py" for name in recipes]
    stories = {
        p.stem for p in main_files if "def main(" in p.read_text() or "def train(" in p.read_text()
    }
    for path in main_files:
        for other in stories - {path.stem}:
            assert not re.search(
                rf"^\s*(import|from) .*\b{other}\b", path.read_text(), re.MULTILINE
            )


def test_docstring_example_prompts_are_run():
    """A `>>>` outside a docstring is not run by doctest."""
    for path in SOURCES:
        for line in path.read_text().splitlines():
            assert not re.match(r"\s*#.*>>>", line), f"{path}: move the example into a docstring"


def _setup():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup


def test_the_layers_need_keras_and_numpy_alone():
    """The backend, and all else, is the user's choice."""
    needed = _setup()["options"]["install_requires"].split()
    assert [re.match(r"[\w-]+", line)[0] for line in needed] == ["keras", "numpy"]


def test_the_version_is_written_alike():
    assert _setup()["metadata"]["version"] == ka.__version__


def _texts():
    """What users and developers may copy an install command from."""
    folders = [
        ROOT / name for name in ("keras_attention", "recipes", "benchmarks", "docs", "tests")
    ]
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "setup.cfg"))
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.suffix in (".py", ".md"))


def test_install_commands_name_our_distribution_and_an_extra_of_it():
    name, extras = _setup()["metadata"]["name"], _setup()["options.extras_require"]
    for path in _texts():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"keras[_-]attention\\?\[", text), (
            f"{path}: the distribution is called {name}; another project owns the short name"
        )
        for extra in re.findall(rf"{name}\\?\[(\w+)\\?\]", text):
            assert extra in extras, f"{path}: setup.cfg has no extra {extra}"
