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
