"""Configuration of the site that `make docs` builds: MyST pages and the executed course, with figures, offline."""

import contextlib
import dataclasses
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx

import glassnet
from glassnet.pages.page import block_style, draw_script
from glassnet.progress import Progress
from glassnet.settings import REQUIRED, Settings, allowed_text

sys.path.insert(0, str(Path(__file__).parent))
from commands import overview, write_pages

NOTEBOOKS = Path(__file__).parents[1] / "build/course"

project = "glassnet"
author = "the authors of glassnet"
release = glassnet.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["images", "rendered"]
html_theme = "sphinx_book_theme"
html_title = "glassnet"
html_static_path = ["_static"]
html_css_files = ["blocks.css", "figures.css"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system; the theme's own default is an error
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "use_download_button": False}
html_math_renderer = "mathml"  # the browsers' own; MathJax would come from a network
html_show_copyright = False
html_use_index = html_domain_indices = False  # the search finds names
smartquotes = False  # -- begins an option

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_in_temp = True  # runs leave folders
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # Plotly's own type, beside the HTML that is displayed

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them


def _inline_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block_math(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _add_commands(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "commands":
        source[0] += overview()


def _write_command_pages(app: Sphinx) -> None:
    write_pages(Path(app.srcdir, "commands"))


def _indent_equations(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Indent equations again in a docstring of one sentence and equations, which loses the indentation."""
    if len(lines) > 2 and lines[0].endswith("::") and not lines[2].startswith(" "):
        lines[2:] = ["    " + line for line in lines[2:]]


def _add_settings(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Document the fields of settings by their declarations."""
    if what == "class" and issubclass(obj, Settings) and dataclasses.is_dataclass(obj):
        for field in dataclasses.fields(obj):
            text = f"{field.metadata['help']} Allowed: {allowed_text(obj, field.name)}."
            default = "" if field.default is REQUIRED else f" Default: ``{field.default!r}``."
            lines.append(f":param {field.name}: {text}{default}")


def _write_live_page(path: Path) -> None:
    """Write the live page of a network trained on the digits, in float64, so that the page repeats its training."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the page names the run's path
        run = glassnet.train("tiny", "digits", dtype="float64", run="runs/digits", report=False, progress=Progress())
        glassnet.explore(run.path, output=path)


def _open_live_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Link to the live page, which fills a window of its own."""
    if page == "explore":
        context["body"] += (
            '<p><a href="_static/live.html">Open the live page of a network trained on the digits</a></p>'
        )


def _write_files(app: Sphinx, error: Exception | None) -> None:
    """Write the notebooks, the live page, and what reports have inside: scripts and style of figures and tables."""
    if error is None:
        static = Path(app.outdir, "_static")
        (static / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
        (static / "draw.js").write_text(draw_script(), encoding="utf-8")
        (static / "blocks.css").write_text(block_style(), encoding="utf-8")
        _write_live_page(static.resolve() / "live.html")
        if NOTEBOOKS.is_dir():
            shutil.copytree(NOTEBOOKS, Path(app.outdir, "notebooks"), dirs_exist_ok=True)


def _add_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if '<div class="plot">' in context.get("body", ""):
        for name in ("plotly.min.js", "draw.js"):
            app.add_js_file(name, loading_method="defer")


def _show_sections(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let a long page show one section at a time."""
    if re.match(r"course/\d|image-folders$|architecture$|golden-format$", page):
        app.add_js_file("sections.js", loading_method="defer")


def _offer_notebook(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Offer a page of the course as a notebook, as docs/notebooks.py wrote it."""
    name = f"{Path(page).name}.ipynb"
    if page.startswith("course/") and (NOTEBOOKS / name).is_file():
        student = f'<a href="../notebooks/student/{name}" download>without solutions</a>'
        link = f'<a href="../notebooks/{name}" download>{name}</a>'
        context["body"] += f"<p>This page as a notebook: {link}, or {student}.</p>"


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _indent_equations)
    app.connect("autodoc-process-docstring", _add_settings)
    app.connect("builder-inited", _write_command_pages)
    app.connect("source-read", _add_commands)
    app.connect("html-page-context", _add_scripts)
    app.connect("html-page-context", _offer_notebook)
    app.connect("html-page-context", _open_live_page)
    app.connect("html-page-context", _show_sections)
    app.connect("build-finished", _write_files)
