"""The command that measures speed and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassnet.architecture import ResNetSpec
from glassnet.cli.app import Json, app, model_spec, show, table
from glassnet.cli.options import with_settings
from glassnet.errors import ConfigError
from glassnet.progress import current_progress

if TYPE_CHECKING:
    from glassnet.bench import BenchReport, Workload


@app.command(epilog="Example: glassnet bench digits resnet20 --rounds 3 --output bench.html")
@with_settings(ResNetSpec, without={"preset", "dropout"})  # dropout masks differ between implementations
def bench(
    settings: dict[str, Any],
    workloads: Annotated[
        list[str] | None,
        typer.Argument(help="Workloads: digits, block, resnet20 or resnet20-inference. Default: all."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Preset or run folder whose training step is measured in place of the workloads."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Number of images in the step of --model.", min=1)] = 64,
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
    from glassnet.bench import compare_saved, load_bench, run_bench, save_bench

    selected = _select_workloads(workloads or [], model, settings, batch_size)
    saved = None if against is None else load_bench(against)
    report = run_bench(selected, rounds, memory=memory, progress=current_progress())
    data, lines = report.to_dict(), _report_lines(report)
    comparison = None if saved is None else compare_saved(report, saved)
    if comparison is not None:
        lines += ["", f"Ratios beside {against}", table(comparison.rows), *filter(None, [comparison.note])]
        data["against"] = comparison.to_dict()
    if save is not None:
        save_bench(report, save)
        lines.append(f"Saved {save}")
    if output is not None:
        from glassnet.reports.bench_page import write_bench

        lines.append(f"Page {write_bench(report, output)}")
    show(data, "\n".join(lines), as_json)
    if comparison is not None:
        comparison.raise_if_worse()


def _select_workloads(
    names: list[str], model: str | None, settings: Mapping[str, Any], batch_size: int
) -> Sequence[str] | Mapping[str, Workload]:
    from glassnet.bench import training_step

    if model is None:
        if settings:
            raise ConfigError(f"{next(iter(settings))} must come with --model. Got no model.")
        return names
    if names:
        raise ConfigError(f"--model must come without workloads. Got {', '.join(names)}.")
    return {model: training_step(model_spec(model, settings), batch_size)}


def _report_lines(report: BenchReport) -> list[str]:
    lines = [f"{name}: {text}" for name, text in report.machine_rows] + list(report.notes)
    for timings in report.timings.values():
        lines += ["", timings.workload.title, table(timings.table_rows()), *timings.summary]
    return lines
