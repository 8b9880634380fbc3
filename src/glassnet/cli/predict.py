"""The command that classifies image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import glassnet as gn
from glassnet.cli.app import Json, RunPath, Weights, app, show

if TYPE_CHECKING:
    from glassnet.training.model import Prediction

_MAX_SHOWN = 4  # files whose pixels are printed
_SHADES = " ░▒▓█"


@app.command(epilog="Example: glassnet predict runs/a cat.jpg dog.png --top 3")
def predict(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Image files of any size and mode.")],
    top: Annotated[int, typer.Option(help="Number of classes to print for each image.", min=1)] = 3,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Classify images. A run on the built-in digits finds a drawn digit in an image and shows what it read."""
    predictions = gn.load(run, weights).predict(list(images), top)
    records = [{"image": str(image), **_record(p)} for image, p in zip(images, predictions, strict=True)]
    for image, p in zip(images, predictions, strict=True):
        if p.preprocessing and p.pixels.any() and not as_json and len(images) <= _MAX_SHOWN:
            typer.echo(f"{image}: {p.preprocessing}. The network read:\n{_blocks(p)}", err=True)
        if p.unlike:
            typer.echo(f"{image} looks unlike the training images: {p.unlike}.", err=True)
    lines = [
        f"{image}: " + ", ".join(f"{label} {probability:.1%}" for label, probability in p.top)
        for image, p in zip(images, predictions, strict=True)
    ]
    show({"run": str(run), "predictions": records}, "\n".join(lines), as_json)


def _record(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON holds it; one of a drawn digit also has what was read, and whether it is unlike."""
    record: dict[str, Any] = {name: getattr(prediction, name) for name in ("label", "probability", "top")}
    if prediction.preprocessing:
        pixels = prediction.pixels[..., 0].astype(float).round(3).tolist()
        record |= {"preprocessing": prediction.preprocessing, "unlike": prediction.unlike, "pixels": pixels}
    return record


def _blocks(prediction: Prediction) -> str:
    """Return the gray image that the network read as lines of block characters, two for each pixel."""
    levels = np.rint(prediction.pixels[..., 0] * (len(_SHADES) - 1)).astype(int)
    return "\n".join("  " + "".join(2 * _SHADES[level] for level in row).rstrip() for row in levels)
