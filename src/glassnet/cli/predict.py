"""The command that classifies image files."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from io import BufferedReader, BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

import glassnet as gn
from glassnet.cli.app import Device, Engine, RunPath, Weights, app
from glassnet.errors import DataError, RunError
from glassnet.formats import pluralize
from glassnet.progress import track

if TYPE_CHECKING:
    from glassnet.training import FilePrediction

_STDIN_BLOCK = 1 << 16  # bytes


@app.command(epilog="Example: glassnet predict runs/a photos 'scans/**/*.png' --csv predictions.csv")
def predict(
    run: RunPath,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS",
            help="Image files; folders and zip or tar archives, for all images in them; patterns such as "
            "'photos/**/*.jpg'; - for paths on stdin, one a line, or separated by NUL.",
        ),
    ],
    top: Annotated[int, typer.Option(help="Number of classes to print for each image.", min=1)] = 1,
    csv: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV file to write in place of the table; - for stdout."),
    ] = None,
    weights: Weights = None,
    engine: Engine = "numpy",
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(help="Number of images that the network computes at once.", min=1)] = 256,
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Largest width times height of an image file, in pixels. Default: that of the training."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")] = False,
) -> None:
    """Classify images, any number of them. A run on the built-in digits finds a drawn digit in an image.

    A file that cannot be read has its row with the reason, and the exit code is 1.
    """
    if csv == "-" and as_json:
        raise typer.BadParameter("--csv must name a file beside --json. Got -.", param_hint="--csv")
    model = gn.load(run, weights, engine, device=device)
    top, counts = min(top, len(model.classes)), _Counts()
    rows = model.predict_files(_given(paths), top, batch_size, max_pixels)
    try:
        _write(rows, model.classes, top, csv, as_json, batch_size, counts)
    except BrokenPipeError:  # what reads the rows has ended, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except KeyboardInterrupt:
        raise RunError(f"Stopped after {pluralize(counts.files, 'file')}.") from None
    if not counts.files:
        given = " ".join("stdin" if path == "-" else path for path in paths)
        raise DataError(f"{given} must have at least one image. Got none.")
    if csv not in (None, "-") and not as_json:
        typer.echo(f"{pluralize(counts.files, 'row')} in {csv}")
    if counts.unreadable:
        raise DataError(
            f"All files must be readable images. Got {counts.unreadable:,} of {counts.files:,} that are not; their "
            "rows have the reasons."
        )


class _Counts:
    files = 0
    unreadable = 0


def _write(
    predictions: Generator[FilePrediction],
    classes: list[str],
    top: int,
    csv: str | None,
    as_json: bool,
    batch_size: int,
    counts: _Counts,
) -> None:
    """Write the predictions as they come, and count them."""
    from glassnet.cli import prediction_output as output

    notes = output.UnlikeNotes()
    has_terminal = sys.stdout is not None and sys.stdout.isatty()  # it may be closed
    is_watched = has_terminal and (as_json or csv in (None, "-"))  # the rows show the progress
    with ExitStack() as stack:
        rows: Iterable[FilePrediction] = stack.enter_context(closing(predictions))
        writers: list[output.Write] = [notes.write]
        if csv == "-":
            writers.append(output.csv_writer(output.Stdout(), top))
        elif csv:
            writers.append(stack.enter_context(output.csv_file(Path(csv), top)))
        if as_json:
            writers.append(partial(output.print_json, top=top))
        elif not csv:
            first = list(islice(rows, max(batch_size, output.MAX_DRAWN + 1)))
            rows = chain(first, rows)
            if len(first) <= output.MAX_DRAWN:
                output.draw_digits(first)
            writers.append(output.Table(first, classes, top).write)
        advance = stack.enter_context(track("predicting", None)) if not is_watched else lambda count: None
        for row in rows:
            for write in writers:
                write(row)
            counts.files += 1
            counts.unreadable += row.error is not None
            advance(1)
    notes.finish()


def _given(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from _paths_on_stdin()
        else:
            yield path


def _paths_on_stdin() -> Iterator[str]:
    """Yield the paths on stdin: separated by NUL if the first ones are, as by find -print0, else one a line."""
    stream = cast(BufferedReader, sys.stdin.buffer) if sys.stdin else BytesIO()  # it may be closed
    block = stream.read1(_STDIN_BLOCK)
    separator = b"\0" if b"\0" in block else b"\n"
    rest = b""
    while block or rest:
        *names, rest = (rest + block).split(separator) if block else [rest, b""]
        # A list that was made on Windows ends its lines in \r\n.
        yield from (os.fsdecode(name.removesuffix(b"\r")) for name in names if name.strip())
        block = stream.read1(_STDIN_BLOCK)
