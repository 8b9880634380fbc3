"""The command that measures speed and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassnet.cli.app import Json, app, show, table
from glassnet.progress import TerminalProgress


@app.command(epilog="Example: glassnet bench digits resnet20 --rounds 3 --output bench.html")
def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(help="Workloads: digits, block, resnet20 or resnet20-inference. Default: all."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timing rounds. Each round times every implementation once.")] = 7,
    memory: Annotated[bool, typer.Option(help="Measure peak memory too, in processes of their own.")] = True,
    output: Annotated[Path | None, typer.Option(help="Write a page with tables and a figure here.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Compare the ratios with a saved bench; exit code 1 if one grew by more than a quarter."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the measurements here, as JSON, for --against.")] = None,
    as_json: Json = False,
) -> None:
    """Measure speed and memory beside plain NumPy and PyTorch, side by side on this machine."""
    from glassnet import bench as benching

    saved = None if against is None else benching.load_bench(against)
    report = benching.run_bench(workloads or [], rounds, memory=memory, progress=TerminalProgress())
    data = report.to_dict()
    lines = [f"{name}: {text}" for name, text in report.machine_rows] + list(report.notes)
    for timings in report.timings.values():
        lines += ["", timings.workload.title, table(timings.table_rows()), *timings.summary]
    comparison = None if saved is None else benching.compare_saved(report, saved)
    if comparison is not None:
        lines += ["", f"Ratios beside {against}", table(comparison.rows)]
        lines += [comparison.note] if comparison.note else []
        data["against"] = comparison.to_dict()
    if save is not None:
        benching.save_bench(report, save)
        lines.append(f"Saved {save}")
    if output is not None:
        from glassnet.reports.bench_page import write_bench

        lines.append(f"Page {write_bench(report, output)}")
    show(data, "\n".join(lines), as_json)
    if comparison is not None:
        comparison.raise_if_worse()
