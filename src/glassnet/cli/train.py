"""Commands that make a run: by training, or from weights trained elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import glassnet as gn
from glassnet.architecture import ResNetSpec
from glassnet.cli.app import (
    Fit,
    Json,
    MaxPixels,
    MaxUnreadable,
    Samples,
    Source,
    SuitedPreset,
    TestSamples,
    app,
    show,
)
from glassnet.cli.options import separate, with_settings
from glassnet.compute import Compute
from glassnet.errors import ConfigError, RunError
from glassnet.formats import pluralize
from glassnet.recipe import Recipe

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.engines import Network


@app.command(epilog="Example: glassnet train digits --model tiny --epochs 10 --seed 42 --run runs/a")
@with_settings(ResNetSpec, Recipe, Compute, without={"preset"})
def train(
    source: Source,
    settings: dict[str, Any],
    model: SuitedPreset = None,
    run: Annotated[
        Path | None, typer.Option(help="Run folder to create. Default: a new one in runs, such as runs/tiny-digits.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Name of a recipe of the preset (see glassnet models). Default: default, or that of the run."
        ),
    ] = None,
    samples: Samples = None,
    test_samples: TestSamples = None,
    fit: Fit = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Values of 16-bit and float images that become black and white. Default: measured on the training "
            "images.",
        ),
    ] = None,
    max_unreadable: MaxUnreadable = None,
    max_pixels: MaxPixels = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Run folder or weights file with the initial weights of all layers but the head."),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS", help="Layers that keep the weights of --init: backbone, all layers but the head."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in the folder. Its settings are the defaults.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    stop_after_epoch: Annotated[
        int | None,
        typer.Option(help="Stop early, after this many epochs. The schedule is still that of --epochs."),
    ] = None,
    evaluate_train: Annotated[
        bool, typer.Option("--evaluate-train", help="Also evaluate the training images after each epoch.")
    ] = False,
    check_gradients: Annotated[
        bool, typer.Option("--check-gradients", help="Check the gradients of the network before the training.")
    ] = False,
    ink: Annotated[
        bool | None,
        typer.Option(
            help="Let predict bring drawn digits in image files to the form of the built-in digits. "
            "Default: yes for those, otherwise no.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Write report.html into the run folder.")] = True,
    as_json: Json = False,
) -> None:
    """Train a model and write a run folder with its report."""
    from glassnet.engines import ProcessGroup

    try:
        finished = gn.train(
            model,
            source,
            run=run,
            recipe=recipe,
            samples=samples,
            test_samples=test_samples,
            fit=fit,
            value_range=None if value_range is None else separate("value_range", value_range, float),
            max_unreadable=max_unreadable,
            max_pixels=max_pixels,
            init=init,
            freeze=freeze,
            resume=resume,
            overwrite=overwrite,
            stop_after_epoch=stop_after_epoch,
            evaluate_train=evaluate_train or None,
            before=_check_network if check_gradients else None,
            ink=ink,
            report=report,
            **settings,
        )
    except KeyboardInterrupt as stop:
        raise RunError(f"Stopped. {stop}" if stop.args else "Stopped before the training began.") from None
    if not ProcessGroup.from_environment().is_first:
        return  # the first of several processes prints
    last, written = finished.metrics, str(finished.path / "report.html") if report else None
    lines = [finished.summary, f"Run    {finished.path}", *_page_lines(finished.path, written)]
    show({"run": str(finished.path), "report": written, **last}, "\n".join(lines), as_json)


def _page_lines(run: Path, report: str | None) -> list[str]:
    """Return the lines about the report, and the command of the live page, or why there is none."""
    from glassnet.measures.live_page import fits_live_page
    from glassnet.training.run_folder import RunFolder

    if report is None:
        return []
    fits = fits_live_page(ResNetSpec.from_dict(RunFolder(run).read_config()["spec"]))
    live = f"glassnet explore {shlex.quote(str(run))}" if fits else "no page: the network or its images are too large"
    return [f"Report {report}", f"Live   {live}"]


def _check_network(network: Network, data: Dataset) -> None:
    from glassnet.verify import check_state

    images = data.normalization.apply(data.train.pixels([0, 1]), "float64")
    checked = check_state(network.spec, network.state_dict(), images, data.train.labels[:2])
    checked.raise_if_failed()
    typer.echo(
        f"The gradients are correct: {pluralize(len(checked.rows), 'tensor')}, worst error {checked.worst.error:.1e}.",
        err=True,
    )


def _class_names(text: str) -> list[str]:
    """Return the lines of a file, or the names that commas separate.

    :raises ConfigError: if the file is not text.
    """
    path = Path(text)
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} must be a text file (UTF-8) with one class name per line. Got bytes.") from None


@app.command(
    "import",
    epilog="Example: glassnet import resnet20.pth --classes cat,dog --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26 "
    "--run runs/imported",
)
@with_settings(ResNetSpec, without={"preset", "classes"})
def import_(
    weights: Annotated[
        Path, typer.Argument(help="Weights file: .safetensors, or a file of PyTorch (.pth, .pt, .ckpt, ...).")
    ],
    settings: dict[str, Any],
    run: Annotated[Path, typer.Option(help="Run folder to create.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of the preset whose weights they are (see glassnet models). Default: found from the weights."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names in the order of the outputs: a,b,c, or a text file with one per line."),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean of each channel, in units of --scale: 0.485,0.456,0.406.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Standard deviation of each channel, in units of --scale: 0.229,0.224,0.225.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Pixel value that stands for 1.")] = 255.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Create a run folder from weights that were trained elsewhere."""
    spec = gn.spec(model, **settings) if model else None
    if settings and spec is None:
        spec = gn.recognize(weights).replace(**settings)
    imported = gn.import_weights(
        weights,
        spec,
        classes=None if classes is None else _class_names(classes),
        mean=None if mean is None else separate("mean", mean, float),
        std=None if std is None else separate("std", std, float),
        run=run,
        scale=scale,
        overwrite=overwrite,
    )
    count = imported.network.parameter_count
    show({"run": str(run), "parameters": count}, f"{run} holds {count:,} parameters of {weights}", as_json)
