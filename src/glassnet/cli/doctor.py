"""The doctor: what is wrong, how it knows, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassnet.cli.app import ImageSize, Json, MaxUnreadable, app, show


@app.command(epilog="Example: glassnet doctor runs/a")
def doctor(
    run: Annotated[Path | None, typer.Argument(help="A run folder; without one, --data alone is examined.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Images to examine, before any training too. The default is the run's own.")
    ] = None,
    image_size: ImageSize = None,
    max_unreadable: MaxUnreadable = 0.01,
    output: Annotated[
        Path | None, typer.Option(help="Where to write the page. The default is doctor.html in the run folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a run or its images, how sure that is, and what to do next; exit code 0 either way."""
    from glassnet.doctor import examine, write_examination

    if run is None and data is None:
        raise typer.BadParameter("Name a run, or images with --data.", param_hint="RUN")
    examination = examine(run, data, image_size=image_size, max_unreadable=max_unreadable)
    path = output or (None if run is None else run / "doctor.html")
    written = path and str(write_examination(examination, path))
    lines = [examination.sentence]
    for one in examination.findings:
        found = one.plain()
        lines += [
            f"\n{found['name']} (sureness: {found['sure']})",
            f"  {found['says']}",
            f"  measured: {found['measured']}; normal: {found['normal']}",
            *(f"  {number}. {advice}" for number, advice in enumerate(found["advice"], start=1)),
        ]
    looked = ", ".join(dict.fromkeys(one.diagnosis.name for one in examination.sound))
    lines += [f"\nLooked for and not found: {looked}."] if looked else []
    for why, names in examination.unseen_by_reason.items():
        lines.append(f"Not looked for ({why.rstrip('.')}): {', '.join(names)}.")
    lines += [f"Page {written}"] if written else []
    show({**examination.plain(), "page": written}, "\n".join(lines), as_json)
