"""The command line: parse, call, print.

Results go to stdout, and so does the one JSON object of ``--json``; everything else that people read while
they wait goes to stderr. Exit codes: 0 done, 1 a stated failure (one line), 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import glassnet as gn
from glassnet.errors import ConfigError, GlassnetError, RunError

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.engines import Network
    from glassnet.training import Model

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

Source = Annotated[
    str,
    typer.Argument(
        help="digits, fashion-mnist, a folder with one folder of pictures per class (or train/ and test/ of those), "
        "or a path to IDX files."
    ),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
OtherData = Annotated[str | None, typer.Option(help="Another source. The default is the run's own.")]
Weights = Annotated[str | None, typer.Option(help="best or last; by default best where validation chose one.")]
Engine = Annotated[str, typer.Option(help="numpy or torch")]
ImageSize = Annotated[int | None, typer.Option(help="Side in pixels to which a folder's pictures are brought.")]
Samples = Annotated[int | None, typer.Option(help="Train on so many pictures, in the proportions of the classes.")]
MaxBad = Annotated[float, typer.Option(help="Share of a folder's pictures that may be unreadable.")]


MODEL, RECIPE = "Model (default: the preset's)", "Recipe (default: the preset's)"


def _field(panel: str, text: str) -> Any:
    """An option for a field of the spec or of the recipe; not given, it stays what the preset says."""
    return typer.Option(None, help=text, rich_help_panel=panel, show_default=False)


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


@app.command(epilog="Example: glassnet train digits --model tiny --epochs 10 --seed 42 --run runs/a")
def train(
    context: typer.Context,
    source: Source,
    model: Annotated[
        str | None, typer.Option(help="A preset, see 'glassnet models'. The default goes by the pictures' size.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run folder. The default is a new one in runs/")] = None,
    engine: Engine = "numpy",
    recipe: Annotated[str, typer.Option(help="A recipe of the preset, see 'glassnet models'.")] = "default",
    dtype: Annotated[str, typer.Option(help="float32, to train, or float64, to prove.")] = "float32",
    device: Annotated[str, typer.Option(help="Of torch: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="Of torch: 32-true, bf16-mixed or 16-mixed.")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Of torch: compile the network first.")] = False,
    image_size: ImageSize = None,
    samples: Samples = None,
    max_bad: MaxBad = 0.01,
    threads: Annotated[int | None, typer.Option(help="Of torch on a CPU; small pictures are quicker on one.")] = None,
    init: Annotated[Path | None, typer.Option(help="A run or a weights file to start from, all but its head.")] = None,
    freeze: Annotated[str | None, typer.Option(help="body: with --init, train the head alone.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in this folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in this folder.")] = False,
    stop_after: Annotated[int | None, typer.Option(help="End early, after so many epochs of the schedule.")] = None,
    evaluate_train: Annotated[
        bool, typer.Option("--evaluate-train", help="Also measure the training pictures in evaluation mode.")
    ] = False,
    check_gradients: Annotated[
        bool, typer.Option("--check-gradients", help="Check this network's gradients before training.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Write report.html at the end.")] = True,
    as_json: Json = False,
    width: int | None = _field(MODEL, "Channels of the first stage."),
    blocks: int | None = _field(MODEL, "Residual blocks in every stage."),
    norm: str | None = _field(MODEL, "batch or none"),
    pool: str | None = _field(MODEL, "none, max, avg or stride: before the head"),
    shortcut: str | None = _field(MODEL, "zero-pad or projection"),
    head: str | None = _field(MODEL, "average or flatten"),
    dropout: float | None = _field(MODEL, "Probability before the last layer."),
    skip: bool | None = _field(MODEL, "With or without shortcuts."),
    preactivation: bool | None = _field(MODEL, "Normalize before each convolution."),
    epochs: int | None = _field(RECIPE, "Times through the training pictures."),
    seed: int | None = _field(RECIPE, "Of weights, batches, augmentation and dropout."),
    lr: float | None = _field(RECIPE, "Learning rate, the largest of its schedule."),
    schedule: str | None = _field(RECIPE, "constant, step, cosine or one-cycle"),
    optimizer: str | None = _field(RECIPE, "sgd, adam or adamw"),
    momentum: float | None = _field(RECIPE, "Of SGD."),
    nesterov: bool | None = _field(RECIPE, "Nesterov's momentum, of SGD."),
    weight_decay: float | None = _field(RECIPE, "Weight decay."),
    decay_scope: str | None = _field(RECIPE, "weights or all"),
    batch_size: int | None = _field(RECIPE, "Pictures in a step."),
    label_smoothing: float | None = _field(RECIPE, "Probability spread over all classes."),
    validation: float | None = _field(RECIPE, "Share of the training pictures that chooses the best epoch."),
    clip_gradient: float | None = _field(RECIPE, "Largest norm of the gradient."),
    augment: str | None = _field(RECIPE, "none or flip-crop"),
) -> None:
    """Train a model and leave a run folder with its report."""
    options = {
        name: value
        for name, value in context.params.items()
        if value is not None and name not in ("source", "model", "check_gradients", "report", "as_json")
    }
    try:
        finished = gn.train(model, source, before=_check_network if check_gradients else None, **options)
    except KeyboardInterrupt:
        raise RunError("Stopped. The run folder keeps the last finished epoch; --resume goes on from there.") from None
    written = _report(finished.path) if report else None
    last = finished.metrics
    _print(
        {"run": str(finished.path), "report": written and str(written), **last},
        f"Test accuracy {last['test_accuracy']:.4f}, loss {last['test_loss']:.4f}, after epoch {last['epoch']}\n"
        f"Run    {finished.path}" + (f"\nReport {written}" if written else ""),
        as_json,
    )


def _check_network(network: Network, data: Dataset) -> None:
    from glassnet.verify.gradients import check_state

    images = data.normalization.apply(data.train.images[:2], "float64")
    checked = check_state(network.spec, network.state_dict(), images, data.train.labels[:2])
    checked.raise_if_failed()
    typer.echo(
        f"The gradients are right: {len(checked.rows)} tensors, worst error {checked.worst.error:.1e}.", err=True
    )


def _report(path: Path, data: str | None = None) -> Path:
    from glassnet.insight import write_report

    model = gn.load(path)
    return write_report(model, None if data is None else _data_for(model, data))


def _data_for(model: Model, source: str | None) -> Dataset:
    """A source's pictures in the model's size, or the run's own data."""
    if source is None:
        return model.load_dataset()
    return gn.load_data(source, image_size=model.network.spec.image_size)


@app.command(epilog="Example: glassnet evaluate runs/a --data digits")
def evaluate(
    run: RunPath,
    data: OtherData = None,
    weights: Weights = None,
    engine: Engine = "numpy",
    as_json: Json = False,
) -> None:
    """Measure loss and accuracy on the test pictures of a run's own data, or of another source."""
    model = gn.load(run, weights, engine)
    result = model.evaluate(_data_for(model, data))
    _print(
        {"run": str(run), **result},
        f"Accuracy {result['accuracy']:.4f}, loss {result['loss']:.4f}, on {result['count']:,} test pictures",
        as_json,
    )


@app.command(epilog="Example: glassnet predict runs/a cat.jpg dog.png --top 3")
def predict(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Pictures of any size and mode.")],
    top: Annotated[int, typer.Option(help="Classes to show for each picture.", min=1)] = 3,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Classify pictures."""
    predictions = gn.load(run, weights).predict(list(images), top)
    found = [
        {"image": str(image), "label": p.label, "probability": p.probability, "top": p.top}
        for image, p in zip(images, predictions, strict=True)
    ]
    lines = [
        f"{image}: " + ", ".join(f"{label} {share:.1%}" for label, share in p.top)
        for image, p in zip(images, predictions, strict=True)
    ]
    _print({"run": str(run), "predictions": found}, "\n".join(lines), as_json)


@app.command(epilog="Example: glassnet report runs/a")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each gets its report.html.")],
    data: OtherData = None,
    as_json: Json = False,
) -> None:
    """Write the report of each run: one HTML file that opens offline."""
    written = [str(_report(run, data)) for run in runs]
    _print({"reports": written}, "\n".join(written), as_json)


@app.command(epilog="Example: glassnet compare runs/a runs/b --output comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, all trained on the same data.")],
    data: OtherData = None,
    output: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("comparison.html"),
    as_json: Json = False,
) -> None:
    """Show runs side by side in one HTML file that opens offline, and say in words what their numbers say."""
    from glassnet import insight

    if len(runs) < 2:
        raise typer.BadParameter(f"A comparison needs at least two runs. Got {runs[0]} alone.", param_hint="RUNS...")
    models = [gn.load(run) for run in runs]
    comparison = insight.compare(models, None if data is None else _data_for(models[0], data))
    written = str(insight.write_comparison(comparison, output))
    lines = [*comparison.words, f"Comparison {written}"]
    _print({"comparison": written, **comparison.numbers()}, "\n".join(lines), as_json)


def _names(text: str) -> list[str]:
    """The lines of a file, or what stands between commas."""
    path = Path(text)
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file (UTF-8) with one class name a line.") from None


@app.command(
    "import",
    epilog="Example: glassnet import resnet20.safetensors --model resnet20 --classes cat,dog --mean 0.49,0.48,0.45 "
    "--std 0.25,0.24,0.26 --run runs/imported",
)
def import_(
    weights: Annotated[Path, typer.Argument(help="A .safetensors, .pth, .pt or .th file.")],
    model: Annotated[str, typer.Option(help="The preset whose weights they are.")],
    classes: Annotated[str, typer.Option(help="Names in the order of the outputs: a,b,c, or a file with one a line.")],
    mean: Annotated[str, typer.Option(help="Of each channel, in units of --scale: 0.485,0.456,0.406.")],
    std: Annotated[str, typer.Option(help="Of each channel, in units of --scale: 0.229,0.224,0.225.")],
    run: Annotated[Path, typer.Option(help="The run folder to make.")],
    scale: Annotated[float, typer.Option(help="The pixel value that stands for 1.")] = 255.0,
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures, where it is not the preset's.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in this folder.")] = False,
    as_json: Json = False,
) -> None:
    """Make a run folder of weights trained elsewhere, to evaluate, predict with and report on."""
    imported = gn.import_weights(
        weights,
        model,
        classes=_names(classes),
        mean=_numbers("mean", mean),
        std=_numbers("std", std),
        run=run,
        scale=scale,
        image_size=image_size,
        overwrite=overwrite,
    )
    count = imported.network.parameter_count
    _print({"run": str(run), "parameters": count}, f"{run} holds {count:,} parameters of {weights}", as_json)


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"--{name} must be numbers between commas. Got {text!r}.") from None


@app.command(epilog="Example: glassnet models")
def models(as_json: Json = False) -> None:
    """List the presets: parameters, pictures, and recipes."""
    from glassnet.architecture import PRESETS, parameter_count
    from glassnet.recipe import RECIPES

    rows = [
        {
            "model": name,
            "parameters": parameter_count(spec),
            "pictures": f"{spec.in_channels}×{spec.size[0]}×{spec.size[1]}",
            "blocks": " + ".join(map(str, spec.blocks)),
            "recipes": ", ".join(RECIPES[name]),
        }
        for name, spec in PRESETS.items()
    ]
    _print({"models": rows}, _table(rows), as_json)


@app.command(epilog="Example: glassnet summary resnet20 --classes 4 --image-size 64")
def summary(
    model: Annotated[str, typer.Argument(help="A preset, or a run folder.")],
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures, in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of the pictures.")] = None,
    as_json: Json = False,
) -> None:
    """Print the layer table: output shape, parameters, multiply-adds and activation memory of one picture."""
    from glassnet.architecture import PRESETS
    from glassnet.insight import layer_table

    given = {"classes": classes, "image_size": image_size, "in_channels": channels}
    changes = {name: value for name, value in given.items() if value is not None}
    is_run = model not in PRESETS and Path(model).is_dir() and not changes
    network = gn.load(model).network if is_run else gn.build(gn.spec(model, **changes))
    rows: list[dict[str, Any]] = [
        {
            "layer": layer.name,
            "output": "×".join(map(str, layer.output_shape)),
            "parameters": layer.parameters,
            "multiply-adds": layer.multiply_adds,
            "bytes": layer.memory,
        }
        for layer in layer_table(network)
    ]
    totals = {name: sum(row[name] for row in rows) for name in ("parameters", "multiply-adds", "bytes")}
    _print(
        {"model": model, "layers": rows, "total": totals},
        _table([*rows, {"layer": "total", "output": "", **totals}]),
        as_json,
    )


@check.command(epilog="Example: glassnet check gradients resnet20")
def gradients(
    model: Annotated[str | None, typer.Argument(help="A preset. The default is every layer and its options.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the pictures and the directions.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Compare every gradient with central differences, in float64; exit code 1 if one differs."""
    from glassnet.verify.gradients import check_all_layers, check_preset

    checks = check_all_layers(seed=seed) if model is None else [check_preset(model, seed=seed)]
    rows = [{"subject": checked.subject, **row} for checked in checks for row in checked.table()]
    shown = rows if model is not None else [{"subject": c.subject, "worst error": c.worst.error} for c in checks]
    passed = all(checked.passed for checked in checks)
    worst = max((row for checked in checks for row in checked.rows), key=lambda row: row.error)
    _print(
        {"passed": passed, "worst": worst.error, "rows": rows},
        f"{_table(shown)}\n{'Passed' if passed else 'FAILED'}: {len(rows)} comparisons, worst error {worst.error:.1e}",
        as_json,
    )
    for checked in checks:
        checked.raise_if_failed()


@check.command(epilog="Example: glassnet check parity resnet20 --dump golden")
def parity(
    model: Annotated[str, typer.Argument(help="A preset.")],
    dtype: Annotated[str, typer.Option(help="float64, to prove, or float32, as in training.")] = "float64",
    batch_size: Annotated[int, typer.Option(help="Pictures in the batch.")] = 2,
    steps: Annotated[int, typer.Option(help="Optimizer steps after which all weights are compared.")] = 2,
    optimizer: Annotated[str, typer.Option(help="sgd, adam or adamw")] = "sgd",
    seed: Annotated[int, typer.Option(help="Of the weights and the batch.")] = 0,
    dump: Annotated[Path | None, typer.Option(help="Write NumPy's numbers, as .npy with an index.json, here.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare NumPy with such a folder of another implementation, not with PyTorch.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare every tensor that the two engines compute; exit code 1 if one differs."""
    from glassnet.verify.parity import check_parity

    checked = check_parity(
        model,
        dtype=dtype,
        batch_size=batch_size,
        steps=steps,
        optimizer=optimizer,
        seed=seed,
        dump=dump,
        against=against,
    )
    rows, worst = checked.table(), checked.worst
    ends = {name: row and row.tensor for name, row in (("first", checked.first), ("worst", worst))}
    _print(
        {"passed": checked.passed, **ends, "rows": rows},
        f"{_table(rows)}\n{'Passed' if checked.passed else 'FAILED'}: {len(rows)} tensors, worst {worst.tensor}, which "
        f"needs a tolerance of {worst.needed:.1e}" + (f"\nGolden numbers {dump}" if dump else ""),
        as_json,
    )
    checked.raise_if_failed()


def _print(data: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(data) if as_json else text)


def _table(rows: list[dict[str, Any]]) -> str:
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


def main() -> None:
    """The ``glassnet`` command. ``--debug`` may stand anywhere."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments)
    except (GlassnetError, OSError, MemoryError) as error:
        if debug:
            raise
        typer.echo(f"Error: {str(error) or type(error).__name__}", err=True)
        sys.exit(1)
