"""Studies of what is inside a network: each leaves one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import glassnet as gn
from glassnet.cli.program import Json, Output, show_study, study

if TYPE_CHECKING:
    from glassnet.architecture import ResNetSpec

PresetOrRun = Annotated[str, typer.Argument(help="A preset, or a run folder.")]


def _spec(model: str) -> ResNetSpec:
    """Of a run folder, or of a preset where there is one of that name."""
    from glassnet.architecture import PRESETS

    return gn.load(model).network.spec if model not in PRESETS and Path(model).is_dir() else gn.spec(model)


@study.command(epilog="Example: glassnet study convolution photo.jpg --model resnet20")
def convolution(
    picture: Annotated[Path | None, typer.Argument(help="A picture of any size. The default is a digit.")] = None,
    model: Annotated[str, typer.Option(help="A preset, or a run folder, whose receptive fields are shown.")] = "tiny",
    output: Output = Path("study-convolution.html"),
    as_json: Json = False,
) -> None:
    """Show what kernels answer to, what options do to sizes, and how far each layer sees."""
    from glassnet.insight.studies import convolution as subject

    measured = subject.measure(picture, _spec(model))
    show_study(measured, subject.compose(measured), output, as_json)


@study.command(epilog="Example: glassnet study parameters resnet20 --output parameters.html")
def parameters(
    model: PresetOrRun = "tiny", output: Output = Path("study-parameters.html"), as_json: Json = False
) -> None:
    """Count parameters: each convolution against a dense layer for the same map."""
    from glassnet.insight.studies import parameters as subject

    measured = subject.measure(_spec(model))
    rows = [
        {"layer": layer.name, "map": layer.map, "parameters": layer.parameters, "dense": layer.dense}
        for layer in measured.layers
    ]
    show_study(measured, subject.compose(measured), output, as_json, rows)
