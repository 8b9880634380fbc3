"""Write the pages of the commands from their ``--help``, so that they cannot be outdated."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from typer.cli import get_docs_for_click
from typer.main import get_command

from glassnet.cli import app


def command_pages() -> dict[str, str]:
    """Return a page of Markdown for each command by its words, such as ``study sweep``."""
    return {" ".join(words): _page(command, words) for words, command in _commands(get_command(app))}


def overview() -> str:
    """Return what ``glassnet --help`` says, with links to the pages of all commands, below a page's title."""
    command: Any = get_command(app)
    text, _, _ = _page(command, ()).split("\n", 1)[1].partition("**Commands**")
    links = [
        f"* [`glassnet {' '.join(words)}`](commands/{'-'.join(words)}.md): {member.help.splitlines()[0]}"
        for words, member in _commands(command)
    ]
    return "\n".join([text.rstrip(), "", *links, ""])


def write_pages(folder: Path) -> None:
    """Write a file for each command, where it is not there already."""
    folder.mkdir(exist_ok=True)
    texts = {f"{name.replace(' ', '-')}.md": text for name, text in command_pages().items()}
    for old in set(folder.glob("*.md")) - {folder / name for name in texts}:
        old.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, after the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _page(command: Any, words: tuple[str, ...]) -> str:
    *groups, name = ("glassnet", *words)
    context = click.Context(command, info_name=name)
    page = get_docs_for_click(obj=command, ctx=context, name=name, call_prefix=" ".join(groups))
    page = re.sub(r"^#+ `(.+)`$", r"# \1", page, count=1, flags=re.MULTILINE)
    return re.sub(r"^Example: (.+)$", r"Example: `\1`", page, flags=re.MULTILINE)
