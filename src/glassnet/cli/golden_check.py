"""The command that judges a port by a golden reference."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassnet.cli.app import Json, golden, show, table
from glassnet.formats import agree, pluralize

if TYPE_CHECKING:
    from glassnet.verify.golden import GoldenReport
    from glassnet.verify.golden.judging import GoldenRow

MAX_ROWS = 20


@golden.command(epilog="Example: glassnet golden check reference my-port.npz")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder that glassnet golden write wrote.")],
    dump: Annotated[Path, typer.Argument(help="Tensors of the port: a folder of .npy files, an .npz or .safetensors.")],
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--map",
            help="JSON file with an object of the reference's names and those of the dump; {name} in both stands for "
            "any text. Default: the same names.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float64|float32|float16|bfloat16",
            help="Type in which the port computed. Default: the type of each tensor in the dump.",
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="HTML page to write. Default: none.")] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="List every tensor that was judged, and every other.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say which operation of a port is wrong first, and the likely cause; exit code 1 if one is."""
    from glassnet.verify import golden as verify_golden

    report = verify_golden.check(folder, dump, mapping=mapping, dtype=dtype)
    lines = _lines(report, show_all)
    if page:
        from glassnet.reports.golden_page import write_golden_report

        lines.append(f"Page {write_golden_report(report, page, dump.name)}")
    show({**report.to_dict(), "page": page and str(page)}, "\n".join(lines), as_json)
    if not report.passed:
        raise typer.Exit(1)


def _lines(report: GoldenReport, show_all: bool) -> list[str]:
    right = report.judged - len(report.failing)
    lines = list(report.sentences)
    if report.passed:
        lines.append(f"Passed: {_agreeing(report.judged)}.")
    else:
        lines.insert(0, f"FAILED: {len(report.failing)} of {pluralize(report.judged, 'tensor')} are wrong.")
    rows = [row for row in report.rows if not row.not_judged] if show_all else list(report.failing[:MAX_ROWS])
    if rows:
        lines += ["", table([_cells(row, show_all) for row in rows])]
    if not show_all and (more := len(report.failing) - len(rows)) > 0:
        lines.append(f"… {more} more; --all lists every tensor.")
    if not report.passed:
        lines += [f"{_agreeing(right)}."]
    return [*lines, *_without_verdict(report, show_all), *report.notes]


def _agreeing(count: int) -> str:
    return f"{pluralize(count, 'tensor')} {agree(count, 'agrees', 'agree')} with the reference"


def _cells(row: GoldenRow, show_verdict: bool) -> dict[str, str | float | bool]:
    cells: dict[str, str | float | bool] = {
        "tensor": row.tensor,
        "operation": row.operation,
        "direction": row.direction,
        "error": row.error,
        "tolerance": row.tolerance,
        "looks like": row.pattern or "–",
    }
    return {**cells, "passed": row.passed} if show_verdict else cells


def _without_verdict(report: GoldenReport, show_all: bool) -> list[str]:
    """Return which tensors were not judged, by reason; all of them, or counts for each folder."""
    if show_all:
        return [f"Not judged: {tensor.tensor}: {tensor.reason}." for tensor in report.not_judged]
    lines = []
    for reason in dict.fromkeys(tensor.reason for tensor in report.not_judged):
        names = [tensor.tensor for tensor in report.not_judged if tensor.reason == reason]
        folders = Counter("/".join(name.split("/")[:2]) for name in names)
        listed = ", ".join(folder if count == 1 else f"{folder} {count}" for folder, count in folders.items())
        lines.append(f"Not judged: {pluralize(len(names), 'tensor')}, {reason}: {listed}.")
    return lines
