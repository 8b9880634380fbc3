"""Display in notebooks: figures with their captions, tables, sentences and source code.

JupyterLab's own Plotly renderer draws the figures, or the site that publishes a notebook (docs/conf.py); both work
offline. Outside of a notebook ``show`` and ``source`` print text, and ``stop`` exits, so that the cells also run as a
plain program.
"""

import ast
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

Bundle = dict[str, Any]  # content by MIME type


def show(*blocks: Block) -> None:
    """Display figures with their captions, tables (``glassnet.pages.page.Table``) and sentences below each other.

    ``show(*section.blocks)`` displays a section of a page.
    """
    _display(bundle for block in blocks for bundle in _bundles(block))


def source(*things: Any, docstrings: bool = True) -> None:
    """Display the source code of classes, functions and methods, so that no copy of it can become outdated.

    :param docstrings: whether to display the docstrings, too; the text around the code may say the same.
    :raises TypeError: if an object has no source, such as a number.
    """
    code = "\n\n".join(_code(thing, docstrings) for thing in things)
    _display([{"text/markdown": f"```python\n{code}\n```", "text/plain": code}])


def stop(reason: str) -> None:
    """Print the reason why the rest of a notebook or program cannot run, and end it without an error.

    In a notebook, each cell that is run later prints "Skipped." and does nothing else, until the kernel is restarted.

    :raises SystemExit: outside of a notebook, with status 0.
    """
    print(reason)
    ipython = _ipython()
    if ipython is None:
        raise SystemExit
    ipython.get_ipython().input_transformers_cleanup.append(lambda lines: ["print('Skipped.')\n"])


def _code(thing: Any, docstrings: bool) -> str:
    code = textwrap.dedent(inspect.getsource(thing)).rstrip()
    if docstrings:
        return code
    lines = code.splitlines()
    definitions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    for node in sorted(definitions, key=lambda node: node.lineno, reverse=True):  # from the end: the lines move up
        if ast.get_docstring(node) is not None:
            start, end = node.body[0].lineno - 1, node.body[0].end_lineno or 0
            del lines[start : end + (lines[end : end + 1] == [""])]
    return "\n".join(lines)


def _ipython() -> Any:
    """Return the module IPython in a notebook, and None outside of one."""
    ipython = sys.modules.get("IPython")
    return ipython if ipython is not None and ipython.get_ipython() is not None else None


def _display(bundles: Iterable[Bundle]) -> None:
    ipython = _ipython()
    for bundle in bundles:
        if ipython is None:
            print(bundle["text/plain"])
        else:
            ipython.display.display(bundle, raw=True)


def _bundles(block: Block) -> list[Bundle]:
    if isinstance(block, go.Figure):
        image = {PLOTLY: document(block), "text/html": render_block(block, captioned=False)}
        text = f'<p class="{CAPTION_CLASS}">{html.escape(caption(block))}</p>'
        return [
            image | {"text/plain": block.layout.meta["alt"]},
            {"text/html": text, "text/markdown": f"*{caption(block)}*", "text/plain": caption(block)},
        ]
    return [{"text/html": render_block(block), "text/markdown": _markdown(block), "text/plain": _plain(block)}]


def _markdown(block: str | Table | Code) -> str:
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    if isinstance(block, str):
        return block
    rules = ["--:" if is_number else ":--" for is_number in block.numeric] or [":--"] * len(block.columns)
    rows = [block.columns, rules, *([format_cell(cell) for cell in row] for row in block.rows)]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join([f"**{block.title}**", "", *(f"| {' | '.join(row)} |" for row in cells)])


def _plain(block: str | Table | Code) -> str:
    if isinstance(block, Code):
        return block.text
    if isinstance(block, str):
        return block
    rows = [block.columns, *([format_cell(cell) for cell in row] for row in block.rows)]
    return "\n".join([block.title, *(" | ".join(row) for row in rows)])
