"""Page: sections of sentences, tables and figures in a single HTML file that opens offline."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeAlias

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from glassnet.errors import RunError
from glassnet.files import write_atomically
from glassnet.pages.colours import colour_variables, dark_colours_script
from glassnet.pages.text import NOT_MEASURED, Cell, format_cell
from glassnet.pages.theme import BUTTONS_HEIGHT, caption, document


@dataclass(frozen=True)
class Table:
    """Rows under named columns, numbers aligned to the right.

    ``collapsed`` tables show only their title until the reader opens them. With ``nowrap`` no cell wraps, and a narrow
    page scrolls the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    collapsed: bool = False
    nowrap: bool = False

    @classmethod
    def from_records(cls, title: str, records: Sequence[Mapping[str, Any]], **options: bool) -> "Table":
        """Return the table of rows that name their columns, all in one order."""
        return cls(title, list(records[0]) if records else [], [list(row.values()) for row in records], **options)

    @cached_property
    def numeric(self) -> list[bool]:
        """Whether each column has only numbers."""
        columns = zip(*self.rows, strict=True)
        return [
            all(cell in (None, NOT_MEASURED) or isinstance(cell, int | float) for cell in column) for column in columns
        ]


@dataclass(frozen=True)
class Code:
    """Source code; only its title shows until the reader opens it, unless ``collapsed`` is False."""

    title: str
    text: str
    collapsed: bool = True


Block: TypeAlias = str | Table | Code | go.Figure


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it; a string is a paragraph."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The id of the heading in the HTML file."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A whole page: title, key figures (name, value), summary (sentences), sections and links (text, relative path)."""

    title: str
    key_figures: Sequence[tuple[str, str]]
    summary: Sequence[str]
    sections: Sequence[Section]
    links: Sequence[tuple[str, str]] = ()


def render(page: Page) -> str:
    """Return the page as HTML. All text is escaped, plotly.js is inlined once, a content policy forbids any request."""
    environment = _environment()
    scripts = {"plotly": get_plotlyjs(), "draw": draw_script()}
    return environment.get_template("page.html.j2").render(
        page=page,
        style=Markup(block_style() + template_source("page.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        policy=_policy(scripts.values()),
    )


def render_block(block: Block, captioned: bool = True) -> str:
    """Return one block as HTML. A page with figures must load plotly.js and draw.js."""
    return _environment().get_template("block.html.j2").render(block=block, captioned=captioned)


def block_style() -> str:
    """Return the style sheet of figures and tables, which pages and the site have in common."""
    return colour_variables() + template_source("blocks.css")


def draw_script() -> str:
    """Return the script that draws, recolours and saves the figures of a page that has loaded plotly.js."""
    return dark_colours_script() + template_source("draw.js")


def template_source(name: str) -> str:
    """Return the text of a file of ``templates/``, such as page.css."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = PackageLoader("glassnet.pages")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = format_cell
    environment.tests["figure"] = lambda block: isinstance(block, go.Figure)
    environment.tests["code"] = lambda block: isinstance(block, Code)
    environment.globals |= {"figure_context": _figure_context, "caption": caption, "captioned": True}
    return environment


def write_page(page: Page, path: Path) -> Path:
    """Write the page, and replace an older one only when the whole file is written.

    :raises RunError: if the file cannot be written.
    """
    html = render(page).encode("utf-8", errors="replace")  # a folder's name need not be text
    try:
        write_atomically(path, html)
    except OSError as error:
        raise RunError(f"The page {path} cannot be written: {error.strerror or error}.") from error
    return path


def _policy(scripts: Iterable[str]) -> str:
    """Return a content policy that forbids every request and every script but these, such as one in a class name."""
    digests = [base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"


def _figure_context(figure: go.Figure) -> dict[str, Any]:
    """Return the variables of the template. Plotly's buttons become HTML buttons, which the keyboard reaches."""
    drawn = document(figure)
    layout = drawn["layout"]
    menus = layout.pop("updatemenus", [])
    if menus:
        layout["margin"]["t"] -= BUTTONS_HEIGHT
        layout["height"] -= BUTTONS_HEIGHT
    return {
        "title": layout["title"]["text"],
        "alt": layout["meta"]["alt"],
        "document": drawn,
        "buttons": [
            {
                "label": button["label"],
                "method": button["method"],
                "arguments": json.dumps(button["args"]),
                "active": index == menu.get("active", 0),
            }
            for menu in menus
            for index, button in enumerate(menu["buttons"])
        ],
    }
