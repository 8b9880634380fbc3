"""The command that measures a run on test images."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from csv import writer as csv_writer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import glassnet as gn
from glassnet.cli.app import Device, Engine, Json, OtherData, RunPath, Weights, app, show, table
from glassnet.files import write_atomically
from glassnet.formats import format_accuracy, format_loss

if TYPE_CHECKING:
    from glassnet.classification import Outcome

_MAX_ROWS = 5  # of each table
_MAX_NAME = 32  # characters of a class name


CsvFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV file to write, a row for each test image: path (or index), truth, prediction and its probability; - "
        "for stdout.",
    ),
]


@app.command(epilog="Example: glassnet evaluate runs/a --data digits --csv predictions.csv")
def evaluate(
    run: RunPath,
    data: OtherData = None,
    weights: Weights = None,
    engine: Engine = "numpy",
    device: Device = "auto",
    max_unreadable: Annotated[
        float | None,
        typer.Option(help="Largest fraction of the images of --data that may be unreadable. Default: the run's."),
    ] = None,
    csv: CsvFile = None,
    as_json: Json = False,
) -> None:
    """Measure loss and accuracy on the test images of a run's own data, or of another source.

    --json has more numbers: of every class, the top-k accuracies and the calibration error.
    """
    from glassnet.training.evaluation_data import evaluation_data

    is_stdout = str(csv) == "-"
    if is_stdout and as_json:
        raise typer.BadParameter("--csv must name a file beside --json. Got -.", param_hint="--csv")
    model = gn.load(run, weights, engine, device=device)
    dataset = evaluation_data(model, data, max_unreadable)
    for remark in dataset.remarks if data else ():
        typer.echo(remark, err=True)
    outcome = model.outcome(dataset)
    result = model.evaluate(dataset, outcome)
    parts = [_headline(result), *_tables(outcome, model.classes)]
    if csv is not None:
        rows = _csv(outcome, model.classes, dataset.test.names)
        if is_stdout:
            typer.echo(rows, nl=False)
            typer.echo("\n\n".join(parts), err=True)
            return
        write_atomically(csv, rows)
        from glassnet.formats import pluralize

        parts.append(f"{pluralize(outcome.count, 'row')} in {csv}")
    show({"run": str(run), **result, "unreadable_files": list(dataset.unreadable_files)}, "\n\n".join(parts), as_json)


def _headline(result: dict[str, Any]) -> str:
    low, high = map(format_accuracy, result["accuracy_interval"])
    split, contaminated = result["split"], result["contaminated"]
    text = (
        f"Accuracy {format_accuracy(result['accuracy'])} (95% confidence interval {low} to {high}), "
        f"loss {format_loss(result['loss'])}, on {result['count']:,} {'' if contaminated else f'{split} '}images"
    )
    if contaminated:
        text += f"\nThis is not a {split} accuracy: {contaminated:,} of these images took part in the run's training"
    return text


def _tables(outcome: Outcome, classes: Sequence[str]) -> list[str]:
    """Return tables of the worst classes and of the most frequent errors, and the classes without images."""
    from glassnet.classification import class_scores, confusions, worst_classes
    from glassnet.formats import pluralize
    from glassnet.pages.text import first_names, shorten

    names = [shorten(name, _MAX_NAME) for name in classes]
    scores = class_scores(outcome)
    worst = [
        {
            "Worst classes": names[index],
            "Recall": format_accuracy(scores[index].recall or 0),
            "Precision": "–" if (precision := scores[index].precision) is None else format_accuracy(precision),
            "Images": scores[index].count,
        }
        for index in worst_classes(scores, _MAX_ROWS)
    ]
    errors = [
        {
            "Most frequent errors": f"{names[pair.true]} → {names[pair.predicted]}",
            "Images": pair.count,
            "Of the true class": format_accuracy(pair.fraction),
        }
        for pair in confusions(outcome, _MAX_ROWS)
    ]
    parts = [table(rows) for rows in (worst, errors) if rows]
    if absent := [name for name, score in zip(names, scores, strict=True) if not score.count]:
        parts.append(f"{pluralize(len(absent), 'class', 'classes')} without images here: {first_names(absent)}")
    return parts


def _csv(outcome: Outcome, classes: Sequence[str], names: Sequence[str] | None) -> bytes:
    """Return a line for each test image in the order of the data; a probability that is not finite is left out."""
    stream = io.StringIO()
    writer = csv_writer(stream, lineterminator="\n")
    writer.writerow(["index" if names is None else "path", "truth", "prediction", "probability"])
    columns = (outcome.labels.tolist(), outcome.predicted.tolist(), outcome.confidence.tolist())
    images = range(outcome.count) if names is None else names
    for image, label, predicted, confidence in zip(images, *columns, strict=True):
        writer.writerow([image, classes[label], classes[predicted], confidence if math.isfinite(confidence) else ""])
    return stream.getvalue().encode("utf-8", errors="backslashreplace")  # a file's name need not be text
