"""The doctor command: faults of a run or of images, the evidence for them, and what to do next."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassnet.cli.app import ImageSize, Json, MaxPixels, MaxUnreadable, app, show, table

if TYPE_CHECKING:
    from glassnet.doctor import DoctorReport


@app.command(epilog="Example: glassnet doctor runs/a")
def doctor(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder. Without one, only the images of --data are checked.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Images to check, with or without a run. Default: the images of the run.")
    ] = None,
    image_size: ImageSize = None,
    fit: Annotated[
        Any,
        typer.Option(
            parser=str,
            metavar="crop|pad|squash",
            help="How image files of another aspect ratio are brought to the size. Default: as in the run, otherwise "
            "crop.",
        ),
    ] = None,
    max_unreadable: MaxUnreadable = None,
    max_pixels: MaxPixels = None,
    output: Annotated[
        Path | None, typer.Option(help="HTML page to write. Default: doctor.html in the run folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find faults of a run or its images, with evidence and what to do next. Exits with 0 even if there are faults."""
    from glassnet.data.images.image_form import MAX_PIXELS
    from glassnet.data.load_options import MAX_UNREADABLE
    from glassnet.doctor import diagnose, write_doctor_report
    from glassnet.progress import current_progress

    if run is None and data is None:
        raise typer.BadParameter("Give a run folder, or images with --data.", param_hint="RUN")
    report = diagnose(
        run,
        data,
        image_size=image_size,
        fit=fit,
        max_unreadable=MAX_UNREADABLE if max_unreadable is None else max_unreadable,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        progress=current_progress(),
    )
    path = output or (None if run is None else run / "doctor.html")
    written = path and str(write_doctor_report(report, path))
    lines = [*_lines(report), *([f"Page {written}"] if written else [])]
    show({**report.to_dict(), "page": written}, "\n".join(lines), as_json)


def _lines(report: DoctorReport) -> list[str]:
    lines = [" ".join(report.summary)]
    for number, outcome in enumerate(report.findings, start=1):
        finding = outcome.to_dict()
        lines += [
            f"\n{number}. {finding['name']} (confidence: {finding['confidence']})",
            f"   {finding['message']}",
            f"   Expected: {finding['expected']}",
            "   What to do, in this order:",
        ]
        for number_of_step, (step, command) in enumerate(outcome.steps, start=1):
            lines.append(f"   {number_of_step}. {step}")
            lines += [f"      {command}"] if command else []
    if report.passed:
        rows = [{"checks passed": o.check.name, "measured": o.result.measured} for o in report.passed if o.result]
        lines.append(f"\n{table(rows)}")
    for reason, names in report.skip_reasons.items():
        lines += [
            f"\nchecks skipped: {reason}",
            fill(", ".join(names), 110, initial_indent="  ", subsequent_indent="  "),
        ]
    return [*lines, "", *report.notes]
