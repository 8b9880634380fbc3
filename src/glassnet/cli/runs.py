"""Commands that look at finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import glassnet as gn
from glassnet.cli.app import Json, OtherData, app, show


@app.command(epilog="Example: glassnet report runs/a")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each gets its report.html.")],
    data: OtherData = None,
    as_json: Json = False,
) -> None:
    """Write the report of each run: one HTML file that opens offline."""
    written = [str(gn.report(run, data).path) for run in runs]
    show({"reports": written}, "\n".join(written), as_json)


@app.command(epilog="Example: glassnet compare runs/a runs/b --output comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, trained on the same data.")],
    data: OtherData = None,
    output: Annotated[Path, typer.Option(help="File to write the page to.")] = Path("comparison.html"),
    as_json: Json = False,
) -> None:
    """Compare runs in one HTML file that opens offline, and print a summary."""
    if len(runs) < 2:
        raise typer.BadParameter(f"A comparison needs at least two runs. Got {runs[0]} alone.", param_hint="RUNS...")
    replaced = " (replaced)" if output.exists() else ""
    comparison = gn.compare(*runs, data=data, output=output)
    lines = [*comparison.summary, f"Comparison {output}{replaced}"]
    show({"comparison": str(output), **comparison.to_dict()}, "\n".join(lines), as_json)
