"""What a notebook shows: figures with their captions, tables, sentences, and the source of what is talked about.

Figures are drawn by JupyterLab's own Plotly renderer, or by the site that a notebook is published on (docs/conf.py), in
either case offline. Outside of a notebook ``show`` and ``source`` print what there is in words, so that a notebook's
cells also run as a plain program.
"""

import html
import inspect
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from glassnet.pages.page import Block, Code, Table, render_block
from glassnet.pages.text import format_cell
from glassnet.pages.theme import caption, document

PLOTLY = "application/vnd.plotly.v1+json"
CAPTION_CLASS = "glassnet-caption"

Bundle = dict[str, Any]  # from MIME type to what it holds


def show(*blocks: Block) -> None:
    """Display figures with their captions, tables (``glassnet.pages.page.Table``) and sentences, one below the other.

    A section of a study's page is shown by ``show(*section.blocks)``.
    """
    _display(bundle for block in blocks for bundle in _bundles(block))


def source(*things: Any) -> None:
    """Display the library's own code: classes, functions and methods as they are written, so that no copy can drift.

    :raises TypeError: for what has no source, such as a number.
    """
    code = "\n\n".join(textwrap.dedent(inspect.getsource(thing)).rstrip() for thing in things)
    _display([{"text/markdown": f"```python\n{code}\n```", "text/plain": code}])


def _display(bundles: Iterable[Bundle]) -> None:
    ipython = sys.modules.get("IPython")  # a notebook has loaded it
    for bundle in bundles:
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(bundle, raw=True)
        else:
            print(bundle["text/plain"])


def _bundles(block: Block) -> list[Bundle]:
    if isinstance(block, go.Figure):
        drawing = {PLOTLY: document(block), "text/html": render_block(block, captioned=False)}
        told = f'<p class="{CAPTION_CLASS}">{html.escape(caption(block))}</p>'
        return [
            drawing | {"text/plain": block.layout.meta["alt"]},
            {"text/html": told, "text/plain": caption(block)},
        ]
    return [{"text/html": render_block(block), "text/plain": _plain(block)}]


def _plain(block: str | Table | Code) -> str:
    if isinstance(block, Code):
        return block.text
    if isinstance(block, str):
        return block
    rows = [block.columns, *([format_cell(cell) for cell in row] for row in block.rows)]
    return "\n".join([block.title, *(" | ".join(row) for row in rows)])
