"""Commands for golden references: write one, check a port against it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassnet.architecture import ResNetSpec
from glassnet.cli.app import Json, PresetOrRun, golden, model_spec, show
from glassnet.cli.options import with_settings
from glassnet.formats import format_bytes, pluralize
from glassnet.recipe import Recipe

if TYPE_CHECKING:
    from glassnet.verify.golden import Bundle

# The batch and the seed are the command's own; the others change nothing in steps on one given batch.
WITHOUT = {
    *("preset", "batch_size", "seed", "shards"),
    *("validation_fraction", "patience", "augment", "rotate", "translate", "jitter"),
}


class GoldenRecipe(Recipe):
    """The recipe of the steps: its defaults are those of ``golden.write``."""

    default_source = "lr 0.01, Adam's 0.001; momentum 0.9, weight decay 0.1, schedule cosine"


@golden.command(epilog="Example: glassnet golden write tiny-bn golden/tiny-bn --optimizer adamw --steps 3")
@with_settings(ResNetSpec, GoldenRecipe, without=WITHOUT)
def write(
    model: PresetOrRun,
    folder: Annotated[Path, typer.Argument(help="New or empty folder for the bundle.")],
    settings: dict[str, Any],
    steps: Annotated[int, typer.Option(help="Number of optimizer steps, all on the same batch.")] = 2,
    dtype: Annotated[str, typer.Option(metavar="float64|float32", help="Type of the numbers.")] = "float64",
    batch_size: Annotated[
        int | None, typer.Option(help="Number of images. Default: 3 or more, unlike channels, height and width.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, images, labels and dropout masks.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Write every number of a network and of some training steps, for ports in other languages to agree with."""
    from glassnet.verify import golden as reference

    changes = {name: value for name, value in settings.items() if name in ResNetSpec.types()}
    size = {"image_size": changes["image_size"]} if "image_size" in changes else {}
    recipe = {name: value for name, value in settings.items() if name not in changes}
    spec = model_spec(model, changes)
    bundle = reference.write(spec, folder, steps=steps, dtype=dtype, batch_size=batch_size, seed=seed, **size, **recipe)
    show(
        {
            "folder": str(folder),
            "tensors": len(bundle.names),
            "bytes": bundle.size,
            "batch": list(bundle.tensor("inputs/images").shape),
            "margin": {name: value for name, value in bundle.manifest["margin"].items() if name != "text"},
            "next": _next(folder),
        },
        "\n".join(_lines(bundle, folder)),
        as_json,
    )


def _lines(bundle: Bundle, folder: Path) -> list[str]:
    """Return in words what was written, how far it is from kinks, and the next command."""
    written, margin = bundle.manifest, bundle.manifest["margin"]
    shape = "×".join(map(str, bundle.tensor("inputs/images").shape))
    steps = f"{pluralize(bundle.steps, 'step')} of {written['recipe']['optimizer']}"
    near = f"; {pluralize(margin['near'], 'kink')} nearer than {margin['target']:g}" if margin["near"] else ""
    return [
        f"Bundle {folder}: {pluralize(len(bundle.names), 'tensor')}, {format_bytes(bundle.size)}",
        f"{written['spec']['preset']}, images {shape}, {steps}, {bundle.dtype}",
        f"Margin: {margin['smallest']:.1f} times float32's rounding from the nearest kink, {margin['operation']} in "
        f"{margin['of']}{near} ({pluralize(margin['draws'], 'draw')})",
        f"Next: {_next(folder)}",
    ]


def _next(folder: Path) -> str:
    return f"glassnet golden check {shlex.quote(str(folder))} DUMP"
