"""Commands that look at finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import glassnet as gn
from glassnet.cli.app import Engine, Json, OtherData, RunPath, Weights, app, show, write_run_report


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
        f"Accuracy {result['accuracy']:.4f}, loss {result['loss']:.4f}, on {result['count']:,} test images",
        as_json,
    )


@app.command(epilog="Example: glassnet predict runs/a cat.jpg dog.png --top 3")
def predict(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Images of any size and mode.")],
    top: Annotated[int, typer.Option(help="Classes to show for each image.", min=1)] = 3,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Classify images."""
    predictions = gn.load(run, weights).predict(list(images), top)
    found = [
        {"image": str(image), "label": p.label, "probability": p.probability, "top": p.top}
        for image, p in zip(images, predictions, strict=True)
    ]
    lines = [
        f"{image}: " + ", ".join(f"{label} {share:.1%}" for label, share in p.top)
        for image, p in zip(images, predictions, strict=True)
    ]
    show({"run": str(run), "predictions": found}, "\n".join(lines), as_json)


@app.command(epilog="Example: glassnet report runs/a")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each gets its report.html.")],
    data: OtherData = None,
    as_json: Json = False,
) -> None:
    """Write the report of each run: one HTML file that opens offline."""
    written = [str(write_run_report(run, data)) for run in runs]
    show({"reports": written}, "\n".join(written), as_json)


@app.command(epilog="Example: glassnet compare runs/a runs/b --output comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, all trained on the same data.")],
    data: OtherData = None,
    output: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("comparison.html"),
    as_json: Json = False,
) -> None:
    """Compare runs in one HTML file that opens offline, and print a summary."""
    from glassnet import reports
    from glassnet.training.evaluation_data import evaluation_data

    if len(runs) < 2:
        raise typer.BadParameter(f"A comparison needs at least two runs. Got {runs[0]} alone.", param_hint="RUNS...")
    models = [gn.load(run) for run in runs]
    trained = next((model for model in models if model.config["data"]["fingerprint"]), models[0])
    comparison = reports.compare(models, None if data is None else evaluation_data(trained, data))
    replaced = " (replaced)" if output.exists() else ""
    written = str(reports.write_comparison(comparison, output))
    lines = [*comparison.summary, f"Comparison {written}{replaced}"]
    show({"comparison": written, **comparison.to_dict()}, "\n".join(lines), as_json)
