"""The command that writes the live page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import glassnet as gn
from glassnet.cli.app import Json, RunPath, app, show


@app.command(epilog="Example: glassnet explore runs/a")
def explore(
    run: RunPath,
    output: Annotated[Path | None, typer.Option(help="HTML file to write. Default: explore.html in the run.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Other data whose images the page has. Default: the run's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a live page of a run: one HTML file in which its network computes and learns, offline.

    Networks of more than 1,000,000 parameters, and images of more than 64×64 pixels, are refused.
    """
    written = gn.explore(run, data, output)
    path = written.path
    if written.missing:
        typer.echo(written.missing, err=True)
    show({"run": str(run), "page": str(path), "bytes": path.stat().st_size}, f"Page {path}", as_json)
