"""The site: what `make docs` builds is whole, and asks no other server."""

import importlib.util
import re

import pytest

import keras_attention as ka
from tests.documents import ROOT

pytest.importorskip("sphinx")

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "saved_models" / "README.md"]


@pytest.fixture(scope="module")
def conf():
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_once_in_the_reference():
    text = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^   (\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(ka.__all__), "list it in its family in docs/reference/index.md"


def test_every_public_name_is_on_the_page_that_chooses():
    """But for what is found from there: bases, gates, errors, plots and what all models share."""
    text = (DOCS / "choose.md").read_text(encoding="utf-8")
    layers = [name for name in ka.__all__ if re.search(r"(Attention|Pooling|Decoder|Block)$", name)]
    missing = {name for name in layers if name not in text} - {"RecurrentAttention"}
    assert not missing, f"say in docs/choose.md when to take {missing}"


def test_the_drawings_of_weights_are_those_that_the_script_draws():
    from docs import drawings

    text = (DOCS / "choose.md").read_text(encoding="utf-8")
    shown = re.findall(r"pictures/weights_(\w+)\.png", text)
    tracked = [path.stem.removeprefix("weights_") for path in DOCS.glob("pictures/weights_*.png")]
    assert sorted(shown) == sorted(tracked) == sorted(drawings.DRAWN)


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_exist(path):
    """Links to files, and names of our own files in backticks."""
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", prose) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    named = re.findall(r"`((?:docs|recipes|tests|benchmarks|keras_attention)/[\w/.]+)`", prose)
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_a_formula_and_a_source_are_shown_as_they_are_written(conf):
    lines = """Attention: averages the values.

        weights = normalizer(score)
        context = weights value

    A list of arguments.

    Args:
        score: String.

            An indented second paragraph.

    Reference:
        One, 2015, https://example.org/one
        As in the paper.
    """
    lines = [line.removeprefix("    ") for line in lines.splitlines()]
    conf.docstring_to_rst(None, "class", "name", None, None, lines)
    text = "\n".join(lines)
    assert "values.\n\n::\n\n    weights = normalizer(score)\n    context" in text
    assert text.count("::") == 1
    assert "    | One, 2015, https://example.org/one\n    | As in the paper." in text


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("a.html", '<script src="https://cdn.example/a.js"></script>', 1),
        ("a.html", '<script async\n src="//cdn.example/a.js"></script>', 1),
        ("a.html", '<link rel="stylesheet" href="https://fonts.example/a.css">', 1),
        ("a.html", '<link href="https://fonts.example" rel="preconnect">', 1),
        ("a.html", '<img alt="x" src="http://example.org/a.png">', 1),
        ("a.css", '@import "https://fonts.example/a.css"; a { b: url(//x.example/f.woff) }', 2),
        ("a.html", '<a href="https://arxiv.org/abs/1409.0473">paper</a>', 0),
        ("a.html", '<script src="_static/a.js"></script><img src="_images/a.png">', 0),
        ("a.html", '<link rel="canonical" href="https://example.org/">', 0),
    ],
)
def test_what_asks_another_server_is_found(conf, tmp_path, name, content, count):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text(content)
    assert len(list(conf.foreign_requests(tmp_path))) == count
