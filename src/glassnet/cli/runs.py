"""Commands that look at finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import glassnet as gn
from glassnet.cli.app import Engine, Json, OtherData, RunPath, Weights, app, show
from glassnet.formats import format_accuracy, format_loss

if TYPE_CHECKING:
    from glassnet.training.model import Prediction

_MAX_SHOWN = 4  # files whose pixels are printed
_SHADES = " ░▒▓█"


@app.command(epilog="Example: glassnet evaluate runs/a --data digits")
def evaluate(
    run: RunPath,
    data: OtherData = None,
    weights: Weights = None,
    engine: Engine = "numpy",
    as_json: Json = False,
) -> None:
    """Measure loss and accuracy on the test images of a run's own data, or of another source."""
    from glassnet.training.evaluation_data import evaluation_data

    model = gn.load(run, weights, engine)
    result = model.evaluate(evaluation_data(model, data))
    show(
        {"run": str(run), **result},
        f"Accuracy {format_accuracy(result['accuracy'])}, loss {format_loss(result['loss'])}, "
        f"on {result['count']:,} test images",
        as_json,
    )


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


@app.command(epilog="Example: glassnet report runs/a")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each gets its report.html.")],
    data: OtherData = None,
    as_json: Json = False,
) -> None:
    """Write the report of each run: one HTML file that opens offline."""
    written = [str(gn.report(run, data).path) for run in runs]
    show({"reports": written}, "\n".join(written), as_json)


@app.command(epilog="Example: glassnet compare runs/a runs/b --output comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, trained on the same data.")],
    data: OtherData = None,
    output: Annotated[Path, typer.Option(help="File to write the page to.")] = Path("comparison.html"),
    as_json: Json = False,
) -> None:
    """Compare runs in one HTML file that opens offline, and print a summary."""
    if len(runs) < 2:
        raise typer.BadParameter(f"A comparison needs at least two runs. Got {runs[0]} alone.", param_hint="RUNS...")
    replaced = " (replaced)" if output.exists() else ""
    comparison = gn.compare(*runs, data=data, output=output)
    lines = [*comparison.summary, f"Comparison {output}{replaced}"]
    show({"comparison": str(output), **comparison.to_dict()}, "\n".join(lines), as_json)
