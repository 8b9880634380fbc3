"""The command that measures speed and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassnet.cli.app import Json, app, show, table


@app.command(epilog="Example: glassnet bench digits resnet20 --rounds 3 --output bench.html")
def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(help="digits, block, resnet20, resnet20-inference, layers or path; by default all."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often everybody has a turn.")] = 7,
    memory: Annotated[bool, typer.Option(help="Measure peak memory too, in processes of their own.")] = True,
    output: Annotated[Path | None, typer.Option(help="Write one page with tables and figures here.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Compare the ratios with a saved bench; exit code 1 if one got worse by a quarter."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the measurements here, as JSON, for --against.")] = None,
    as_json: Json = False,
) -> None:
    """Measure speed and memory beside plain NumPy and PyTorch, in turn on this machine; ratios are what counts."""
    from glassnet import bench as benching

    stored = None if against is None else benching.read_stored(against)
    report = benching.bench(
        workloads or [], rounds, memory=memory, tell=lambda line: typer.echo(f"[bench] {line}", err=True)
    )
    lines = [f"{name}: {value}" for name, value in benching.machine_rows(report.machine)] + list(report.notes)
    for name, contests in report.contests.items():
        lines += ["", report.titles[name], table(benching.workload_rows(report, name)), *benching.words(name, contests)]
    told = report.as_json()
    compared = None if stored is None else benching.compare(report, stored)
    if compared is not None:
        rows = [change.row() for change in compared.changes]
        lines += ["", f"Ratios beside {against}", table(rows), *([compared.note] if compared.note else [])]
        told["against"] = {"note": compared.note, "changes": [change.as_json() for change in compared.changes]}
    if save is not None:
        benching.store(report, save)
        lines.append(f"Saved {save}")
    if output is not None:
        from glassnet.reports.bench_page import write_bench

        lines.append(f"Page {write_bench(report, output)}")
    show(told, "\n".join(lines), as_json)
    if compared is not None:
        compared.raise_if_worse()
