"""The site: `make docs` builds it from these pages, the docstrings and the tutorials."""

import inspect
import os
import re
from pathlib import Path

from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

import keras_attention as ka

ROOT = Path(__file__).resolve().parent.parent


project = "keras_attention"
version = release = ka.__version__
copyright = "the authors of keras_attention, Apache-2.0"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_nb"]
templates_path = ["templates"]
exclude_patterns = ["templates", "jupyter_execute"]

# Pages: Markdown, where a heading can be linked to as on GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]
suppress_warnings = ["misc.highlighting_failure"]  # the lexer of Kotlin does not know a lone "$"

# Tutorials: run when they or the code below changed, at most once; an error ends the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "notebooks")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True  # what a cell prints is one block
nb_ipywidgets_js = {}  # or every page would ask foreign servers for scripts

# The reference: from the docstrings, which tell types and shapes in words.
default_role = "literal"
add_module_names = False
autosummary_generate = True
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "inherited-members": True,
    "exclude-members": "compute_output_shape,compute_output_spec,floats",
}
autodoc_inherit_docstrings = False  # or Keras' own would stand at methods without one
autodoc_typehints = "none"
# "Returns" as prose: napoleon would take what stands before a colon for a type.
napoleon_custom_sections = [("Call arguments", "params_style"), "Returns", "Reference"]
napoleon_include_init_with_doc = False
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"keras_attention {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False


def setup(app):
    # The tutorials run in kernels of their own: they import this checkout, and say nothing of CPUs.
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app.connect("autodoc-skip-member", skip_what_is_not_ours)
    app.connect("autodoc-process-signature", signature_of_the_constructor)
    app.connect("autodoc-process-docstring", docstring_to_rst, priority=400)  # before napoleon
    app.connect("build-finished", warn_of_foreign_requests)


def skip_what_is_not_ours(app, what, name, obj, skip, options):
    """Leaves out what a class has from Keras: its own pages describe that."""
    function = inspect.unwrap(getattr(obj, "fget", None) or obj)
    is_ours = (getattr(function, "__module__", None) or "").startswith("keras_attention")
    return None if is_ours else True


def signature_of_the_constructor(app, what, name, obj, options, signature, returns):
    """That of `__init__`: Keras' layers have a `__new__` that takes anything."""
    if what != "class":
        return None
    own = inspect.signature(obj.__init__)
    kept = [parameter for name, parameter in own.parameters.items() if name != "self"]
    return stringify_signature(own.replace(parameters=kept), show_annotation=False), None


CONTRACT = "the layer contract (docs/contract.md)", ":doc:`the layer contract </contract>`"


def docstring_to_rst(app, what, name, obj, options, lines):
    """Shows formulas and code, which stand indented in docstrings, each source, and Markdown's
    tables as they were written.
    """
    shown, above, in_sources = [], "", False
    for line, before in zip(lines, ["", *lines], strict=False):
        is_indented = line.startswith("    ")
        if line and not is_indented:
            in_sources = line == "Reference:"
        if is_indented and in_sources:
            shown.append(f"    | {line.strip()}")
        elif line.startswith("| ") and not before:
            shown += [".. list-table::", "   :header-rows: 1", "", *_table_row(line)]
        elif line.startswith("| "):
            shown += _table_row(line)
        elif is_indented and not before and above and not above.startswith(" "):
            shown += ["::", "", line]
        elif not line.startswith("|-"):  # the line below a table's header
            shown.append(line if is_indented else _inline(line))
        above = line or above
    lines[:] = shown


def _inline(line):
    """Links to the contract; no code in bold words, and no names between bars: they mean something
    else in a docstring.
    """
    line = line.replace(*CONTRACT)
    line = re.sub(r"\*\*[^*]+\*\*", lambda bold: bold[0].replace("`", ""), line)
    return re.sub(r"\|(?=\w)", r"\|", line)


def _table_row(line):
    first, *others = (cell.strip() for cell in line.strip("|").split("|"))
    return [f"   * - {first}", *(f"     - {cell}" for cell in others)]


FOREIGN = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"'](?:https?:)?//[^\"']*"
    r"|<link\b(?=[^>]*?\brel=[\"'](?:stylesheet|preload|icon|preconnect|dns-prefetch))[^>]*?"
    r"\bhref=[\"'](?:https?:)?//[^\"']*"
    r"|(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"';]*"
)


def foreign_requests(folder):
    """Pairs of a file and what in it asks another server when the page is opened."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".css"):
            yield from ((path, found[0]) for found in FOREIGN.finditer(path.read_text("utf-8")))


def warn_of_foreign_requests(app, exception):
    """Makes a page that asks another server for a script, a font or a picture a warning."""
    if exception is None:
        for path, found in foreign_requests(Path(app.outdir)):
            where = path.relative_to(app.outdir)
            logging.getLogger(__name__).warning("%s asks another server: %s", where, found)
