"""The doctor command: faults of a run or of images, the evidence for them, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassnet.cli.app import ImageSize, Json, MaxUnreadable, app, show

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
    max_unreadable: MaxUnreadable = 0.01,
    output: Annotated[
        Path | None, typer.Option(help="HTML page to write. Default: doctor.html in the run folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find faults of a run or its images, with evidence and what to do next. Exits with 0 even if there are faults."""
    from glassnet.doctor import diagnose, write_doctor_report
    from glassnet.progress import TerminalProgress

    if run is None and data is None:
        raise typer.BadParameter("Give a run folder, or images with --data.", param_hint="RUN")
    report = diagnose(run, data, image_size=image_size, max_unreadable=max_unreadable, progress=TerminalProgress())
    path = output or (None if run is None else run / "doctor.html")
    written = path and str(write_doctor_report(report, path))
    lines = [*_lines(report), *([f"Page {written}"] if written else [])]
    show({**report.to_dict(), "page": written}, "\n".join(lines), as_json)


def _lines(report: DoctorReport) -> list[str]:
    lines = [" ".join(report.summary)]
    for number, finding in enumerate((outcome.to_dict() for outcome in report.findings), start=1):
        lines += [
            f"\n{number}. {finding['name']} (confidence: {finding['confidence']})",
            f"   {finding['message']}",
            f"   Measured: {finding['measured']}",
            f"   Expected: {finding['expected']}",
            "   What to do, in this order:",
            *(f"   {step}. {advice}" for step, advice in enumerate(finding["advice"], start=1)),
        ]
    if report.passed:
        lines.append(f"\nChecks passed: {', '.join(outcome.check.name for outcome in report.passed)}.")
    for reason, names in report.skipped_by_reason.items():
        lines.append(f"Checks skipped ({reason.rstrip('.')}): {', '.join(names)}.")
    return lines
