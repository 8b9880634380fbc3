"""Write the page of the commands from their ``--help``, so that it cannot be outdated."""

import re
from typing import Any

import click
from typer.cli import get_docs_for_click
from typer.main import get_command

from glassnet.cli import app


def commands_page() -> str:
    """Return what ``glassnet`` and each of its commands say with ``--help``, as Markdown below the page's title."""
    command: Any = get_command(app)
    context = click.Context(command, info_name="glassnet")
    _, page = get_docs_for_click(obj=command, ctx=context, name="glassnet").split("\n", 1)
    for group in (command, *command.commands.values()):
        for name, member in getattr(group, "commands", {}).items():  # Typer shortens the lists of commands
            page = re.sub(rf"^\* `{name}`: .*\.\.\.$", f"* `{name}`: {member.help}", page, flags=re.MULTILINE)
    return re.sub(r"^Example: (.+)$", r"Example: `\1`", page, flags=re.MULTILINE)
