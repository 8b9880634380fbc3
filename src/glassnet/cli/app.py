"""The program, and the options and the output that its commands share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import glassnet as gn

if TYPE_CHECKING:
    from glassnet.architecture import ResNetSpec
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
    help="Check gradients, and the agreement of the engines.",
    epilog="Example: glassnet check gradients tiny",
    no_args_is_help=True,
)
app.add_typer(check, name="check")
golden = typer.Typer(
    help="Golden references: every number of a network and a training, and what is wrong with a port.",
    epilog="Example: glassnet golden write tiny-bn golden/tiny-bn",
    no_args_is_help=True,
)
app.add_typer(golden, name="golden")
study = typer.Typer(
    help="Why residual networks work, shown and measured: one page each.",
    epilog="Example: glassnet study parameters resnet20",
    no_args_is_help=True,
)
app.add_typer(study, name="study")
cache = typer.Typer(
    help="The cache of decoded images: what is in it, what can go, whether it is sound.",
    epilog="Example: glassnet cache list",
    no_args_is_help=True,
)
app.add_typer(cache, name="cache")

Source = Annotated[
    str,
    typer.Argument(
        help="Data: digits, fashion-mnist, a folder with one folder of images per class (or train, val and test of "
        "those), a table of paths and labels (CSV, TSV, Parquet), a zip or tar archive of either, Arrow or Parquet "
        "files with images in them, a data set of the Hugging Face hub (owner/name), or a path to IDX files."
    ),
]
RunSource = Annotated[
    str | None, typer.Argument(help="Data, as in glassnet train. Default: the data of --run, otherwise digits.")
]
RunPath = Annotated[Path, typer.Argument(help="Run folder.")]
Preset = Annotated[str, typer.Argument(help="Name of a preset (see glassnet models).")]
PresetOrRun = Annotated[
    str, typer.Argument(help="Name of a preset (see glassnet models), a run folder, or a weights file.")
]
SuitedPreset = Annotated[
    str | None, typer.Option(help="Name of a preset (see glassnet models). Default: the one for the image size.")
]
RecipeName = Annotated[str, typer.Option(help="Name of a recipe of the preset (see glassnet models).")]
# What studies of networks of several depths vary or take from the data.
DEPTH_STUDY_SETS = ("preset", "in_channels", "image_size", "classes", "width", "blocks", "norm", "skip")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
OtherData = Annotated[
    str | None,
    typer.Option(
        help="Other data to evaluate on: its test images, or all images if it has no split. Default: the run's data."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="best|last", help="Weights to load. Default: best if the run has them, else last."),
]
Engine = Annotated[str, typer.Option(metavar="numpy|torch", help="Engine that computes.")]
Device = Annotated[str, typer.Option(help="Device of the PyTorch engine: auto, cpu, cuda, cuda:1 or mps.")]
ImageSize = Annotated[
    int | None, typer.Option(help="Height and width to which image files are brought, in pixels. Default: their own.")
]
Fit = Annotated[
    Any,
    typer.Option(
        parser=str,  # load_data refuses others
        metavar="crop|pad|squash",
        help="How image files of another aspect ratio are brought to the size: cropped around the middle, padded with "
        "black bars, or squashed.",
    ),
]
Samples = Annotated[
    int | None, typer.Option(help="Number of training images, sampled with the class proportions. Default: all.")
]
TestSamples = Annotated[
    Any,
    typer.Option(
        parser=lambda text: int(text) if text.isdecimal() else text,  # load_data refuses other texts than all
        metavar="INTEGER|all",
        help="Largest number of test images, sampled likewise. Default: the number of --samples.",
    ),
]
MaxUnreadable = Annotated[
    float | None,
    typer.Option(
        help="Largest fraction of the image files that may be unreadable, or 3 files if that is more. 0 allows none. "
        "Default: 0.01.",
    ),
]
MaxPixels = Annotated[
    int | None, typer.Option(help="Largest width times height of an image file, in pixels. Default: 178956970.")
]
StudyOutput = Annotated[
    Path | None,
    typer.Option(help="HTML page to write. Default: study-NAME-SUBJECT.html in the current directory."),
]


_NUMBER = re.compile(r"–|[\d.,+−e-]+%?( ± [\d.]+%?)?")  # with its sign, unit and deviation; – for none


def _version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(gn.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Declare the options of the program; ``main`` looks for ``--debug`` itself."""


def model_spec(model: str, settings: Mapping[str, Any]) -> ResNetSpec:
    """Return the spec of a preset, a run folder or a weights file, with some fields changed."""
    from glassnet.architecture import PRESETS

    path = Path(model)
    if model not in PRESETS and path.is_dir():
        return gn.load(model).network.spec.replace(**settings)
    if model not in PRESETS and path.is_file():
        return gn.recognize(path).replace(**settings)
    return gn.spec(model, **settings)


def show(data: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the text, or the data as one JSON object."""
    typer.echo(json.dumps(_to_json_safe(data), allow_nan=False) if as_json else text)


def _to_json_safe(value: Any) -> Any:
    """Return the value with null for numbers that are not finite: JSON has none."""
    if isinstance(value, dict):
        return {name: _to_json_safe(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_safe(member) for member in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def show_study(
    measured: Study,
    page: Page,
    output: Path,
    as_json: bool,
    rows: list[dict[str, Any]] | None = None,
    markdown: str | None = None,
) -> None:
    """Write a study's page; print its summary below a table of ``rows`` or one in Markdown, or its numbers as JSON."""
    from glassnet.pages.page import write_page

    written = str(write_page(page, output))
    above = [table(rows)] if rows else [markdown, ""] if markdown else []
    lines = [*above, *measured.summary, f"Page {written}"]
    show({"page": written, **measured.to_dict()}, "\n".join(lines), as_json)


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as aligned text, numbers as on the pages and to the right."""

    from glassnet.pages.text import count_columns, format_cell

    def to_text(value: Any) -> str:
        return ("NO", "yes")[value] if isinstance(value, bool) else format_cell(value).replace("e−", "e-")

    cells = [list(rows[0]), *([to_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(count_columns, column)) for column in zip(*cells, strict=True)]
    right = [_NUMBER.fullmatch(cell) is not None for cell in cells[1]]
    lines = (
        "  ".join(
            " " * (width - count_columns(cell)) + cell if is_right else cell + " " * (width - count_columns(cell))
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
