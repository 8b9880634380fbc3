"""One HTML page that opens offline: sections of sentences, tables and figures, in a single file.

The report is one such page; whatever else shows figures composes its own sections.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from glassnet.errors import RunError
from glassnet.files import write_atomically
from glassnet.pages.text import Cell, format_cell
from glassnet.pages.theme import BUTTONS_HEIGHT, caption, document


@dataclass(frozen=True)
class Table:
    """Rows under named columns; numbers stand to the right. A collapsed table shows its title until it is opened.

    Where ``nowrap`` is set no cell wraps, and a narrow page scrolls the table.
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

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether it holds numbers alone."""
        columns = zip(*self.rows, strict=True)
        return [all(cell is None or isinstance(cell, int | float) for cell in column) for column in columns]


@dataclass(frozen=True)
class Code:
    """Source code behind its title; it unfolds when it is opened."""

    title: str
    text: str


Block: TypeAlias = str | Table | Code | go.Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it: a string is a paragraph."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A whole page: its title, the short of it in ``key_figures`` (name, value) and sentences, and the sections."""

    title: str
    key_figures: Sequence[tuple[str, str]]
    summary: Sequence[str]
    sections: Sequence[Section]


def render(page: Page) -> str:
    """The page as HTML. All text is escaped, plotly.js is inlined once, and a content policy forbids any request."""
    environment = _environment()
    scripts = {"plotly": get_plotlyjs(), "draw": template_source("draw.js")}
    return environment.get_template("page.html.j2").render(
        page=page,
        style=Markup(template_source("page.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        policy=_policy(scripts.values()),
    )


def render_block(block: Block, captioned: bool = True) -> str:
    """One block as it stands in a page; whatever page holds figures must bring plotly.js and draw.js."""
    return _environment().get_template("block.html.j2").render(block=block, captioned=captioned)


def template_source(name: str) -> str:
    """A file of ``templates/`` as it is, such as draw.js."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = PackageLoader("glassnet.pages")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = format_cell
    environment.tests["figure"] = lambda block: isinstance(block, go.Figure)
    environment.tests["code"] = lambda block: isinstance(block, Code)
    environment.globals |= {"drawing": _drawing, "caption": caption, "captioned": True}
    return environment


def write_page(page: Page, path: Path) -> Path:
    """Writes the page, or leaves what was there.

    :raises RunError: the file cannot be written.
    """
    html = render(page).encode("utf-8", errors="replace")  # a folder's name need not be text
    try:
        write_atomically(path, html)
    except OSError as error:
        raise RunError(f"The page {path} cannot be written: {error.strerror or error}.") from error
    return path


def _policy(scripts: Iterable[str]) -> str:
    """Nothing is fetched from anywhere, and no script runs but these: not even one smuggled in by a class name."""
    digests = [base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"


def _drawing(figure: go.Figure) -> dict[str, Any]:
    """A figure as the template needs it. Its buttons become the page's own, which the keyboard reaches."""
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
                "active": place == menu.get("active", 0),
            }
            for menu in menus
            for place, button in enumerate(menu["buttons"])
        ],
    }
