"""Pages: complete or not there, and nothing in them asks another server."""

import base64
import hashlib
import json
import re

import pytest

from recipes.kit import web
from recipes.kit.errors import UserError

CARD = (
    "# A <title>\n\n## What it does\n\nTells `a` from b.\n\n## Data\n\nNo.\n\n## Limits\n\nMany.\n"
)


@pytest.fixture
def config(tmp_path):
    """A run, LiteRT.js and an output, of which the first two have only what is looked for."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text('{"recipe": "texts"}')
    (run / "README.md").write_text(CARD)
    (run / "model.keras").touch()
    for name in web._RUNTIME:
        path = tmp_path / "node_modules" / "@litertjs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": web.VERSION}))
    return web.WebConfig(run, tmp_path / "pages" / "page", runtime=tmp_path / "node_modules")


def make(
    config, recipe="texts", kind="texts", scripts=("sentences.js", "shading.js", "tokenizer.js")
):
    with web.new_page(config, recipe) as page:
        page.write(kind, scripts=scripts, files={"labels.txt": ["ä", "b"]}, settings={"x": [1]})
    return config.output


@pytest.mark.parametrize(
    ("kind", "scripts"),
    [("texts", ["sentences.js", "shading.js", "tokenizer.js"]), ("captions", ["images.js"])],
)
def test_a_page_has_all_that_it_names_and_names_no_other_server(config, kind, scripts, capsys):
    page = make(config, kind=kind, scripts=scripts)
    assert [path.name for path in page.parent.iterdir()] == ["page"]
    assert (page / "labels.txt").read_text(encoding="utf-8") == "ä\nb\n"
    assert json.loads((page / "page.json").read_text()) == {"recipe": "texts", "x": [1]}
    index = (page / "index.html").read_text(encoding="utf-8")
    assert "<title>A &lt;title&gt;</title>" in index and "$" not in index
    assert "Tells <code>a</code> from b." in index and "Many." in index and "No." not in index
    named = re.findall(r'(?:src|href)="([^":]+)"|"\./(runtime/[^"]+)"', index)
    files = [page / (own or runtime) for own, runtime in named]
    assert len(files) == 3
    for path in files:
        assert path.exists()
        if path.suffix == ".js" and path.parent == page:
            names = re.findall(r'from "([^"]+)"', path.read_text())
            files += [page / name for name in names if page / name not in files]
    assert {path.name for path in page.glob("*.js")} <= {path.name for path in files}
    for path in (page / "index.html", *page.glob("*.js"), *page.glob("*.css")):
        assert not re.search(r"https?:|[\"'`(]//", path.read_text(encoding="utf-8")), path
    assert f"Wrote {page}" in capsys.readouterr().out


def test_the_policy_allows_this_folder_and_the_import_map_alone(config):
    index = (make(config) / "index.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', index)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    imports = re.search(r'<script type="importmap">(.*?)</script>', index)[1]
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    assert rules.pop("script-src") == f"'self' 'wasm-unsafe-eval' 'sha256-{digest}'"
    assert rules == {
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
    }


def test_without_litert_the_line_tells_how_to_get_it(config):
    (config.runtime / "@litertjs" / "wasm-utils" / "dist" / "index.js").unlink()
    with pytest.raises(
        UserError, match=r"There is no @litertjs/wasm-utils.*npm install .*@2\.5\.3"
    ):
        make(config)
    assert not config.output.parent.exists()


def test_another_version_of_litert_is_refused(config):
    package = config.runtime / "@litertjs" / "core" / "package.json"
    package.write_text('{"version": "9.0.0"}')
    with pytest.raises(UserError, match=r"Expected LiteRT.js 2\.5\.3 .*Received: 9\.0\.0"):
        make(config)
    package.write_text("rubbish")
    with pytest.raises(UserError, match=r"Received: nothing readable. Install it by: npm install"):
        make(config)


def test_a_broken_model_card_is_one_line(config):
    for content in (b"\xff", b"no title"):
        (config.folder / "README.md").write_bytes(content)
        with pytest.raises(UserError, match=r"Cannot load .*README\.md"):
            make(config)
    assert not any(config.output.parent.iterdir())


def test_only_a_page_of_the_same_recipe_is_replaced(config):
    page = make(config)
    (page / "old.txt").touch()
    assert make(config) == page and not (page / "old.txt").exists()
    with pytest.raises(UserError, match="page holds no page of captions and is left alone"):
        run = config.folder / "metrics.json"
        run.write_text('{"recipe": "captions"}')
        make(config, "captions")
    run.write_text('{"recipe": "texts"}')
    (page / "page.json").write_text("rubbish")
    with pytest.raises(UserError, match="is left alone. Choose another --output"):
        make(config)
    assert (page / "index.html").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, OSError])
def test_what_is_cut_short_leaves_the_page_as_it_was(config, error, monkeypatch):
    before = sorted(make(config).rglob("*"))

    def broken(*args):
        raise error("broken")

    monkeypatch.setattr(web.shutil, "copyfile", broken)
    with pytest.raises(UserError if error is OSError else error):
        make(config)
    assert sorted(config.output.rglob("*")) == before
    assert [path.name for path in config.output.parent.iterdir()] == ["page"]


def test_the_page_lies_beside_the_run_unless_told_otherwise(config):
    output = config.folder.with_name("run_web")
    with web.new_page(web.WebConfig(config.folder, runtime=config.runtime), "texts") as page:
        page.write("texts", scripts=[], files={}, settings={})
    assert (output / "index.html").exists()


def test_a_place_that_is_no_folder_is_one_line(config):
    config.output.parent.write_text("a file")
    with pytest.raises(UserError, match="Cannot write --output .*page"):
        make(config)
