"""Commands that make a run: by training, or from weights trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import glassnet as gn
from glassnet.cli.app import Engine, ImageSize, Json, MaxUnreadable, Samples, Source, app, show, write_run_report
from glassnet.errors import ConfigError, RunError

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.engines import Network


MODEL, RECIPE = "Model (default: the preset's)", "Recipe (default: the preset's)"


def _field(panel: str, text: str) -> Any:
    """An option for a field of the spec or of the recipe; not given, it stays what the preset says."""
    return typer.Option(None, help=text, rich_help_panel=panel, show_default=False)


@app.command(epilog="Example: glassnet train digits --model tiny --epochs 10 --seed 42 --run runs/a")
def train(
    context: typer.Context,
    source: Source,
    model: Annotated[
        str | None, typer.Option(help="A preset, see 'glassnet models'. The default goes by the images' size.")
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
    max_unreadable: MaxUnreadable = 0.01,
    threads: Annotated[
        int | None, typer.Option(help="On a CPU, by default all; small images are quicker on one in torch.")
    ] = None,
    channels_last: Annotated[
        bool | None,
        typer.Option(help="Of torch: the memory order of images; by default on with CUDA.", show_default=False),
    ] = None,
    kernels: Annotated[str, typer.Option(help="Of numpy: fast, or plain, the readable functions.")] = "fast",
    devices: Annotated[int, typer.Option(help="Of torch: GPUs, or processes on a CPU, that share each batch.")] = 1,
    init: Annotated[Path | None, typer.Option(help="A run or a weights file to start from, all but its head.")] = None,
    freeze: Annotated[str | None, typer.Option(help="backbone: with --init, train the head alone.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in this folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in this folder.")] = False,
    stop_after_epoch: Annotated[
        int | None, typer.Option(help="End early, after so many epochs of the schedule.")
    ] = None,
    evaluate_train: Annotated[
        bool, typer.Option("--evaluate-train", help="Also measure the training images in evaluation mode.")
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
    epochs: int | None = _field(RECIPE, "Times through the training images."),
    seed: int | None = _field(RECIPE, "Of weights, batches, augmentation and dropout."),
    lr: float | None = _field(RECIPE, "Learning rate, the largest of its schedule."),
    schedule: str | None = _field(RECIPE, "constant, step, cosine or one-cycle"),
    optimizer: str | None = _field(RECIPE, "sgd, adam or adamw"),
    momentum: float | None = _field(RECIPE, "Of SGD."),
    nesterov: bool | None = _field(RECIPE, "Nesterov's momentum, of SGD."),
    weight_decay: float | None = _field(RECIPE, "Weight decay."),
    weight_decay_scope: str | None = _field(RECIPE, "weights or all"),
    batch_size: int | None = _field(RECIPE, "Images in a step."),
    label_smoothing: float | None = _field(RECIPE, "Probability spread over all classes."),
    validation_fraction: float | None = _field(RECIPE, "Fraction of the training images that selects the best epoch."),
    clip_grad_norm: float | None = _field(RECIPE, "Largest norm of the gradient."),
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
    except KeyboardInterrupt as stop:
        raise RunError(f"Stopped. {stop}" if stop.args else "Stopped before the training began.") from None
    try:
        written = write_run_report(finished.path) if report else None
    except KeyboardInterrupt:
        raise RunError(
            f"Stopped. {finished.path} lacks nothing but its report, which glassnet report {finished.path} writes."
        ) from None
    last = finished.metrics
    show(
        {"run": str(finished.path), "report": written and str(written), **last},
        f"Test accuracy {last['test_accuracy']:.4f}, loss {last['test_loss']:.4f}, after epoch {last['epoch']}\n"
        f"Run    {finished.path}" + (f"\nReport {written}" if written else ""),
        as_json,
    )


def _check_network(network: Network, data: Dataset) -> None:
    from glassnet.verify import check_state

    images = data.normalization.apply(data.train.images[:2], "float64")
    checked = check_state(network.spec, network.state_dict(), images, data.train.labels[:2])
    checked.raise_if_failed()
    typer.echo(
        f"The gradients are right: {len(checked.rows)} tensors, worst error {checked.worst.error:.1e}.", err=True
    )


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
    image_size: Annotated[int | None, typer.Option(help="Side of the images, where it is not the preset's.")] = None,
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
    show({"run": str(run), "parameters": count}, f"{run} holds {count:,} parameters of {weights}", as_json)


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"--{name} must be numbers between commas. Got {text!r}.") from None
