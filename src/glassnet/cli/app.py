"""The program and what its commands have in common: options, and how a result is shown."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import glassnet as gn
from glassnet.errors import ConfigError

if TYPE_CHECKING:
    from glassnet.pages.page import Page
    from glassnet.studies import Study


app = typer.Typer(
    help="Residual networks you can see through: train, look inside, check every number.",
    epilog="Example: glassnet train digits --model tiny --epochs 10 --run runs/first",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
check = typer.Typer(
    help="Prove that the numbers are right.", epilog="Example: glassnet check gradients tiny", no_args_is_help=True
)
app.add_typer(check, name="check")
study = typer.Typer(
    help="Why residual networks work, shown and measured: one page each.",
    epilog="Example: glassnet study parameters resnet20",
    no_args_is_help=True,
)
app.add_typer(study, name="study")

Source = Annotated[
    str,
    typer.Argument(
        help="digits, fashion-mnist, a folder with one folder of images per class (or train/ and test/ of those), "
        "or a path to IDX files."
    ),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
OtherData = Annotated[
    str | None,
    typer.Option(
        help="Another source: its test images, or all where it has no split. The default is the run's own data."
    ),
]
Weights = Annotated[str | None, typer.Option(help="best or last; by default best where validation chose one.")]
Engine = Annotated[str, typer.Option(help="numpy or torch")]
ImageSize = Annotated[int | None, typer.Option(help="Side in pixels to which a folder's images are brought.")]
Samples = Annotated[int | None, typer.Option(help="Train on so many images, in the proportions of the classes.")]
Output = Annotated[Path, typer.Option(help="Where to write the page.")]
StudyOutput = Annotated[
    Path | None, typer.Option(help="File to write the page to. Default: study-NAME-SUBJECT.html in this folder.")
]
MaxUnreadable = Annotated[float, typer.Option(help="Share of a folder's images that may be unreadable.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(gn.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Typer takes the program's own options from here; ``main`` looks for ``--debug`` itself."""


def write_run_report(path: Path, data: str | None = None) -> Path:
    from glassnet.reports import write_report
    from glassnet.training.evaluation_data import evaluation_data

    model = gn.load(path)
    return write_report(model, None if data is None else evaluation_data(model, data)).path


def show(data: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(_told(data), allow_nan=False) if as_json else text)


def _told(value: Any) -> Any:
    """JSON has no number for what is not finite: null."""
    if isinstance(value, dict):
        return {name: _told(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_told(own) for own in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def integers(name: str, text: str) -> list[int]:
    """What stands between commas."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"--{name} must be whole numbers between commas. Got {text!r}.") from None


def show_study(
    measured: Study,
    page: Page,
    output: Path,
    as_json: bool,
    rows: list[dict[str, Any]] | None = None,
    markdown: str | None = None,
) -> None:
    """Write a study's page; print what it says, below a table of ``rows`` or one in Markdown, or its numbers."""
    from glassnet.pages.page import write_page

    written = str(write_page(page, output))
    above = [table(rows)] if rows else [markdown, ""] if markdown else []
    lines = [*above, *measured.summary, f"Page {written}"]
    show({"page": written, **measured.to_dict()}, "\n".join(lines), as_json)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned text: numbers to the right, with thousands separated."""

    def told(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "NO"
        if value is None:
            return "–"
        return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else str(value)

    cells = [list(rows[0]), *([told(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [isinstance(value, int | float) and not isinstance(value, bool) for value in rows[0].values()]
    lines = (
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
