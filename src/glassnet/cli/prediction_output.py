"""The rows of predict: a table, CSV and JSON on stdout or in a file, and on stderr what the network read of digits."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import typer

from glassnet.cli.app import show
from glassnet.files import add_path_to_error
from glassnet.training import FilePrediction

Write = Callable[[FilePrediction], None]

MAX_DRAWN = 4  # files whose pixels are drawn
_MAX_NOTES = 10  # files that are named because they look unlike the training images
_SHADES = " ░▒▓█"


class Table:
    """The table for people. Columns are as wide as the first rows and all class names need."""

    def __init__(self, first: Sequence[FilePrediction], classes: Sequence[str], top: int) -> None:
        self.names = [f"_{place}" if place > 1 else "" for place in range(1, top + 1)]
        self.path_width = max([_width(_one_line(row.path)) for row in first], default=0)
        self.label_width = max(len(f"label{self.names[-1]}"), *(_width(_one_line(name)) for name in classes))
        cells = [(f"label{name}", f"probability{name}") for name in self.names]
        typer.echo(self._line("path", cells))

    def write(self, row: FilePrediction) -> None:
        """Print a row. One of a file that cannot be read has the reason in place of the label."""
        path = _one_line(row.path)
        if row.error is not None:
            typer.echo(f"{_pad(path, self.path_width)}  error: {_one_line(row.error)}")
        else:
            typer.echo(self._line(path, [(_one_line(label), f"{probability:.1%}") for label, probability in row.top]))

    def _line(self, path: str, cells: Sequence[tuple[str, str]]) -> str:
        widths = [len(f"probability{name}") for name in self.names]
        return "  ".join(
            [
                _pad(path, self.path_width),
                *(f"{_pad(a, self.label_width)}  {b.rjust(w)}" for (a, b), w in zip(cells, widths, strict=True)),
            ]
        )


def _one_line(text: str) -> str:
    """Return the text with escapes for what a terminal does not print, such as a newline in the name of a file."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _columns(row: FilePrediction, top: int) -> dict[str, Any]:
    """Return a row as CSV and JSON hold it: path, label, probability, error, label_2, probability_2, ..."""
    record: dict[str, Any] = {name: getattr(row, name) for name in ("path", "label", "probability", "error")}
    for place in range(2, top + 1):
        label, probability = row.top[place - 1] if row.top else (None, None)
        record |= {f"label_{place}": label, f"probability_{place}": probability}
    return record


def print_json(row: FilePrediction, top: int) -> None:
    """Print a row as one JSON object on one line; one of a drawn digit also has what was read."""
    record = _columns(row, top)
    if row.pixels is not None:
        pixels = row.pixels[..., 0].astype(float).round(3).tolist()
        record |= {"preprocessing": row.preprocessing, "unlike": row.unlike, "pixels": pixels}
    show(record, "", as_json=True)


class Stdout:
    """Stdout as a stream whose rows arrive at once."""

    def write(self, text: str) -> None:
        """Print the text."""
        typer.echo(text, nl=False)


def csv_writer(stream: Any, top: int) -> Write:
    """Write the header into a stream; return the function that writes a row."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_columns(FilePrediction(""), top))

    def write(row: FilePrediction) -> None:
        path, *values = _columns(row, top).values()
        # Names of files may have bytes that are not UTF-8; what reads the file must not fail on them.
        path = path.encode("utf-8", "backslashreplace").decode("utf-8")
        writer.writerow([path, *("" if value != value else value for value in values)])  # no number is nan

    return write


@contextmanager
def csv_file(path: Path, top: int) -> Iterator[Write]:
    """Open a CSV file; yield the function that writes a row.

    The rows go into a file beside it, ``FILE.part``, which replaces FILE at the end: FILE always has all rows. If the
    block ends early, the rows so far stay there, for they may have taken hours. Pipes and devices are written directly.

    :raises OSError: if it cannot be written; names the path.
    """
    target = path.resolve() if path.is_symlink() else path
    is_file = target.is_file() or not target.exists()
    part = target.with_name(f"{target.name}.part") if is_file else target
    with add_path_to_error(path):
        file = part.open("w", encoding="utf-8", newline="")
        write_row = csv_writer(file, top)

    def write(row: FilePrediction) -> None:
        with add_path_to_error(path):
            write_row(row)

    try:
        yield write
    except BaseException:
        with suppress(OSError):
            file.close()
        if is_file:
            typer.echo(f"The rows so far are in {part}.", err=True)
        raise
    with add_path_to_error(path):
        file.close()
        if is_file:
            part.replace(target)


def draw_digits(rows: Sequence[FilePrediction]) -> None:
    """Draw on stderr what the network read of each drawn digit, two block characters for each pixel."""
    for row in rows:
        if row.pixels is not None and row.pixels.any():
            levels = np.rint(row.pixels[..., 0] * (len(_SHADES) - 1)).astype(int)
            lines = ("  " + "".join(2 * _SHADES[level] for level in line).rstrip() for line in levels)
            typer.echo(f"{_one_line(row.path)}: {row.preprocessing}. The network read:", err=True)
            typer.echo("\n".join(lines), err=True)


class UnlikeNotes:
    """Notes on stderr about images that look unlike the training images: the first ones, then a count."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, row: FilePrediction) -> None:
        """Write the note about a row, if there is one."""
        if row.unlike:
            self.count += 1
            if self.count <= _MAX_NOTES:
                text = f"{_one_line(row.path)} looks unlike the training images: {row.unlike}."
                typer.echo(text, err=True)

    def finish(self) -> None:
        """Write how many have no note."""
        if self.count > _MAX_NOTES:
            typer.echo(f"{self.count - _MAX_NOTES:,} more look unlike the training images.", err=True)
