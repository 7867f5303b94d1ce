"""House rules: what is true of every file. Each failure says what to do instead."""

import ast
import configparser
import functools
import graphlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
import types
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.functional import normalize

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("keras_attention", "keras_attention_command", "recipes")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PACKAGE = [path for path in SOURCES if "keras_attention" in path.relative_to(ROOT).parts]
# Files that hold no public layer of their own.
BASES = {
    "layers": ["base", "cached_steps", "head_groups", "stepwise", "transformer_block"],
    "recurrent": [
        "additive",
        "base",
        "cells",
        "decoder_state",
        "from_addons",
        "loops_keras",
        "loops_tensorflow",
        "time_loop",
    ],
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


CLASSES = [name for name in ka.__all__ if inspect.isclass(getattr(ka, name))]
POINTER = "the layer contract (docs/contract.md)"
# The arguments that the page on the contract describes, each under a heading of its own.
SHARED_ARGUMENTS = set(
    re.findall(r"^### `(\w+)`$", (ROOT / "docs" / "contract.md").read_text(), re.MULTILINE)
)


def _own_members(cls):
    """Methods and properties that our code defines, but for what Keras defines and calls."""
    kinds = types.FunctionType, property, functools.cached_property, classmethod, staticmethod
    foreign = [c for c in cls.__mro__ if not c.__module__.startswith("keras_attention")]
    for owner in set(cls.__mro__) - set(foreign):
        for name, member in vars(owner).items():
            is_keras_own = any(hasattr(c, name) for c in foreign)
            is_read = name in ("call", "update_state", "result")
            if isinstance(member, kinds) and (is_read or not is_keras_own) and name[0] != "_":
                yield f"{owner.__name__}.{name}", member


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_is_documented(name):
    members = dict(_own_members(getattr(ka, name)))
    missing = sorted(member for member, found in members.items() if not found.__doc__)
    assert not missing, f"write a docstring for {missing}: arguments and outputs with shapes"


@pytest.mark.parametrize("name", [name for name in CLASSES if hasattr(getattr(ka, name), "call")])
def test_every_call_argument_is_described(name):
    cls, call = getattr(ka, name), getattr(ka, name).call
    arguments = set(inspect.signature(call).parameters) - {"self"}
    section = re.search(r"^    Call arguments:$(.*?)^$", cls.__doc__, re.MULTILINE | re.DOTALL)
    if section:
        missing = [a for a in arguments if not re.search(rf"\b{a}\b.*:", section[1])]
        assert not missing, f"describe {missing} in the docstring of {name}, Call arguments"
    unnamed = {a for a in arguments if not re.search(rf"\b{a}\b.*:", call.__doc__)}
    unknown = sorted(unnamed - SHARED_ARGUMENTS)
    assert not unknown, f"describe {unknown} in the docstring of {name}.call"
    assert not unnamed or POINTER in call.__doc__, (
        f"describe {sorted(unnamed)} in the docstring of {name}.call, or say: see {POINTER}"
    )


@pytest.mark.parametrize("path", PACKAGE, ids=_id)
def test_the_contract_is_named_alike_and_has_what_docstrings_leave_to_it(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        text = ast.get_docstring(node) or ""
        if re.search(r"\bcontract\b", text):
            assert POINTER in text, f"write it on one line of the docstring: {POINTER}"
        for names in re.findall(
            r"^ +(\w+(?:, \w+)*): [^:]*?\bin the\s+contract\.", text, re.MULTILINE
        ):
            unknown = sorted(set(names.split(", ")) - SHARED_ARGUMENTS)
            assert not unknown, f"docs/contract.md has no heading for {unknown}"


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
    heavy = {"tensorflow", "tensorflow_text", "ai_edge_litert", "matplotlib", "scipy", "jax"}
    for node in ast.parse(path.read_text()).body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found = heavy & {name.partition(".")[0] for name in names}
        assert not found, f"import {found} inside the function that uses it"


def _inside(path, *names):
    """Whether a file of the package is one of these, or in one of these folders."""
    parts = path.relative_to(ROOT / "keras_attention").with_suffix("").parts
    return any(parts[: name.count("/") + 1] == tuple(name.split("/")) for name in names)


# Where TensorFlow or JAX is the subject, and what tells which of them it is.
NAME_BACKENDS = "memory", "export", "explain", "machine", "target", "recurrent/loops_tensorflow"


@pytest.mark.parametrize("path", [p for p in PACKAGE if not _inside(p, *NAME_BACKENDS)], ids=_id)
def test_backends_are_named_in_few_files(path):
    tree = ast.parse(path.read_text())
    calls = [
        n.lineno
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("backend.backend")
    ]
    imported = {
        name.partition(".")[0]
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in n.names] if isinstance(n, ast.Import) else [n.module or ""])
    }
    where = "into `memory`, or a file a backend beside it"
    foreign = imported & {"tensorflow", "jax", "torch"}
    assert not foreign, f"move what needs {foreign} {where}"
    assert not calls, f"ask `keras_attention.target`, not Keras, for the backend: lines {calls}"
    if _inside(path, "functional", "layers"):
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        named = {t.string for t in tokens if t.type == tokenize.NAME}
        named &= {"tensorflow", "tf", "jax", "torch", "is_tensorflow", "is_jax"}
        assert not named, f"the sentence of the library names no backend: move {named} {where}"


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _imports():
    """From each module of the package to those that it imports, inside functions too."""
    trees = {_module(path): ast.parse(path.read_text()) for path in PACKAGE}
    graph = {name: set() for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & set(trees)
            elif isinstance(node, ast.ImportFrom) and node.module in trees:
                of_names = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= of_names & set(trees)
                if not of_names <= set(trees):  # also what is no module of its own
                    graph[name].add(node.module)
    return graph


def test_no_modules_import_each_other_in_a_circle():
    graph = _imports()
    assert "keras_attention.memory.plans" in graph["keras_attention.functional.attend"]
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"move what two of these share to a third module: {error.args[1]}")


def test_imports_go_one_way():
    """functional <- scores <- layers <- recurrent <- decoding; memory serves functional."""
    order = {"functional": 0, "memory": 0, "scores": 1, "layers": 2, "recurrent": 3, "decoding": 4}
    allowed = {("layers.hierarchical_attention", "recurrent.exportable_rnn")}  # holds an encoder
    for name, imported in _imports().items():
        for other in imported:
            pair = tuple(x.removeprefix("keras_attention.") for x in (name, other))
            levels = [order.get(x.partition(".")[0]) for x in pair]
            if None not in levels and pair not in allowed:
                assert levels[0] >= levels[1], f"{name} must not import {other}"


def _functions(node, owner=""):
    """Pairs of a dotted name and a function, for all functions in a tree, nested ones too."""
    for child in ast.iter_child_nodes(node):
        name = f"{owner}.{child.name}".lstrip(".") if hasattr(child, "name") else owner
        if isinstance(child, ast.FunctionDef):
            yield name, child
        yield from _functions(child, name)


@pytest.mark.parametrize("path", PACKAGE, ids=_id)
def test_functions_have_at_most_eight_parameters(path):
    """But for public ones, and constructors and calls, whose arguments users know from Keras."""
    for name, function in _functions(ast.parse(path.read_text())):
        owner, _, method = name.rpartition(".")
        is_public = (owner or method) in ka.__all__ and not method.startswith("_")
        if is_public or method in ("__init__", "call"):
            continue
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
        assert len(names) <= 8, f"group some of {names} in a class, as `Keys` does: {name}"


def test_a_reader_finds_the_softmax_in_few_steps(monkeypatch):
    """Our own frames from the call of a layer to the softmax, and the files that they are in."""
    layer, x, stacks = ka.ContentAttention(), np.ones((2, 3, 4), "float32"), []
    layer(x, x)
    softmax = normalize.ops.softmax

    def watched(*args, **kwargs):
        frame, stack = sys._getframe(1), []
        while not (stack and stack[-1] == ("content_attention.py", "call")):
            path = Path(frame.f_code.co_filename)
            if ROOT / "keras_attention" in path.parents:
                stack.append((path.name, frame.f_code.co_name))
            frame = frame.f_back
        stacks.append(stack[::-1])
        return softmax(*args, **kwargs)

    monkeypatch.setattr(normalize.ops, "softmax", watched)
    layer(x, x)
    (stack,) = stacks
    assert stack[-1][0] == "normalize.py"
    assert len(stack) <= 6, f"too many calls from a layer to its softmax: {stack}"
    files = {name for name, _ in stack}
    assert len(files) <= 4, f"too many files from a layer to its softmax: {stack}"


@pytest.mark.parametrize("path", PACKAGE, ids=_id)
def test_the_package_does_not_know_the_recipes(path):
    assert not re.search(r"^\s*(import|from) recipes", path.read_text(), re.MULTILINE)


STORIES = sorted(p for p in (ROOT / "recipes").glob("*.py") if p.stem != "__init__")
# Two networks with five attentions; one network that sees and one that writes.
LONG_STORIES = {"translation": 460, "image_captioning": 460}


@pytest.mark.parametrize("path", [p for p in SOURCES if p not in PACKAGE], ids=_id)
def test_nothing_imports_a_story(path):
    """Recipes stand side by side: what two of them need lies in kit, data, text or parts."""
    names = "|".join(p.stem for p in STORIES)
    found = re.search(
        rf"^\s*(from recipes import .*\b({names})\b|(import|from) recipes\.({names})\b)",
        path.read_text(),
        re.MULTILINE,
    )
    assert not found, f"move what is shared out of the story: {found[0]}"


@pytest.mark.parametrize("path", STORIES, ids=_id)
def test_a_story_is_short_and_has_its_parts(path):
    text = path.read_text()
    assert len(text.splitlines()) < LONG_STORIES.get(path.stem, 300), (
        "move helpers to recipes/parts"
    )
    for part in ("class Config", "def build_model(", "def train(", "def card(", "def predict("):
        assert part in text, f"every story has {part}"
    for heading in ("Data:", f"python -m recipes.{path.stem} train", "Score:", "Reference"):
        assert heading in ast.get_docstring(ast.parse(text)), f"its docstring says {heading}"


def test_a_story_is_read_before_tensorflow_is_loaded():
    """So wrong flags and data show at once, and several processes join before it is used."""
    names = [f"recipes.{path.stem}" for path in STORIES]
    code = f"import sys, {', '.join(names)}; print({{'keras', 'tensorflow'}} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"


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
        ROOT / name
        for name in (
            "keras_attention",
            "keras_attention_command",
            "recipes",
            "benchmarks",
            "docs",
            "tests",
        )
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
