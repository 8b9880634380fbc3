"""Commands that check gradients and the agreement of the engines."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from glassnet.architecture import ResNetSpec
from glassnet.cli.app import Json, PresetOrRun, check, model_spec, show, table
from glassnet.cli.options import with_settings
from glassnet.errors import ConfigError
from glassnet.formats import pluralize
from glassnet.recipe import Recipe

Kernels = Annotated[
    str, typer.Option(metavar="fast|plain", help="Functions of the NumPy engine's layers: fast kernels, or plain ones.")
]
_OWN = {"preset", "seed", "batch_size"}  # the checks have their own


@check.command(epilog="Example: glassnet check gradients resnet20 --label-smoothing 0.1")
@with_settings(ResNetSpec, Recipe, without=_OWN, defaults={Recipe: "Recipe's own: plain cross-entropy"})
def gradients(
    settings: dict[str, Any],
    model: Annotated[
        str | None, typer.Argument(help="Name of a preset, or a run folder. Default: every layer with all its options.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights, the images and the directions.", min=0)] = 0,
    kernels: Kernels = "fast",
    as_json: Json = False,
) -> None:
    """Compare every gradient with central differences, in float64; exit code 1 if one differs.

    Of the recipe's settings label smoothing and class weights change the loss, whose gradient is checked. The others
    are for check parity.
    """
    from glassnet.verify import check_all_layers, check_gradients

    if settings and model is None:
        raise ConfigError(f"{next(iter(settings))} must come with a model. Got no model.")
    if model is None:
        checks = check_all_layers(seed=seed, kernels=kernels)
    else:
        checks = [check_gradients(model_spec(model, {}), seed=seed, kernels=kernels, **settings)]
    rows = [{"name": checked.name, **row} for checked in checks for row in checked.table()]
    shown = rows if model is not None else [{"name": c.name, "worst error": c.worst.error} for c in checks]
    passed = all(checked.passed for checked in checks)
    worst = max((row for checked in checks for row in checked.rows), key=lambda row: row.error)
    show(
        {
            "passed": passed,
            "worst": worst.error,
            "fault": next((str(c.fault) for c in checks if c.fault), None),
            "rows": rows,
        },
        f"{table(shown)}\n{'Passed' if passed else 'FAILED'}: {len(rows)} comparisons, worst error {worst.error:.1e}",
        as_json,
    )
    for checked in checks:
        checked.raise_if_failed()


@check.command(epilog="Example: glassnet check parity resnet20 --optimizer adam --ema 0.9")
@with_settings(ResNetSpec, Recipe, without=_OWN, defaults={Recipe: "SGD, lr 0.0001, weight decay 0.1"})
def parity(
    model: PresetOrRun,
    settings: dict[str, Any],
    dtype: Annotated[
        str,
        typer.Option(metavar="float64|float32", help="Type of the numbers; in float32 gradients have no tolerance."),
    ] = "float64",
    batch_size: Annotated[
        int | None,
        typer.Option(help="Number of images in the batch. Default: 2, or 5 with class weights or shards."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of optimizer steps before the weights are compared.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the weights and the batch.")] = 0,
    kernels: Kernels = "fast",
    as_json: Json = False,
) -> None:
    """Compare every tensor that the two engines compute, with each other and with its definition.

    Exit code 1 if one differs; the error names the operation that is wrong.
    """
    from glassnet.verify import check_parity

    typer.echo(f"NumPy and PyTorch, in {dtype} on cpu", err=True)
    checked = check_parity(
        model_spec(model, {}),
        dtype=dtype,
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        kernels=kernels,
        **settings,
    )
    rows, worst = checked.table(), checked.worst
    ends = {name: row and row.tensor for name, row in (("first", checked.first), ("worst", worst))}
    fault = None if checked.fault is None else str(checked.fault)
    lines = [{**row, "passed": row["passed"] if row["has_tolerance"] else "no tolerance"} for row in rows]
    for line in lines:
        del line["has_tolerance"], line["wrong_in"]
    compared = len(checked.rows_with_tolerance)
    without = pluralize(len(rows) - compared, "tensor")
    others = f"\nNo tolerance: {without}, whose rounding in float32 has no bound; use float64"
    show(
        {
            "passed": checked.passed,
            **ends,
            "fault": fault,
            "compared": compared,
            "no_tolerance": len(rows) - compared,
            "rows": rows,
        },
        f"{table(lines)}\n{'Passed' if checked.passed else 'FAILED'}: {pluralize(compared, 'tensor')}, worst "
        f"{worst.tensor}, which requires a tolerance of {worst.required_tolerance:.1e}"
        + (others if compared < len(rows) else ""),
        as_json,
    )
    checked.raise_if_failed()
