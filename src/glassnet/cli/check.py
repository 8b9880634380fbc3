"""Commands that prove that the numbers are right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassnet.cli.app import Json, check, show, table


@check.command(epilog="Example: glassnet check gradients resnet20")
def gradients(
    model: Annotated[str | None, typer.Argument(help="A preset. The default is every layer and its options.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the images and the directions.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Compare every gradient with central differences, in float64; exit code 1 if one differs."""
    from glassnet.verify import check_all_layers, check_gradients

    checks = check_all_layers(seed=seed) if model is None else [check_gradients(model, seed=seed)]
    rows = [{"name": checked.name, **row} for checked in checks for row in checked.table()]
    shown = rows if model is not None else [{"name": c.name, "worst error": c.worst.error} for c in checks]
    passed = all(checked.passed for checked in checks)
    worst = max((row for checked in checks for row in checked.rows), key=lambda row: row.error)
    show(
        {"passed": passed, "worst": worst.error, "rows": rows},
        f"{table(shown)}\n{'Passed' if passed else 'FAILED'}: {len(rows)} comparisons, worst error {worst.error:.1e}",
        as_json,
    )
    for checked in checks:
        checked.raise_if_failed()


@check.command(epilog="Example: glassnet check parity resnet20 --dump golden")
def parity(
    model: Annotated[str, typer.Argument(help="A preset.")],
    dtype: Annotated[
        str, typer.Option(help="float64, to prove, or float32, in which gradients have no tolerance.")
    ] = "float64",
    batch_size: Annotated[int, typer.Option(help="Images in the batch.")] = 2,
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
    from glassnet.verify import check_parity

    typer.echo(f"NumPy and {'PyTorch' if against is None else against}, in {dtype} on cpu", err=True)
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
    lines = [{**row, "passed": row["passed"] if row["has_tolerance"] else "no tolerance"} for row in rows]
    for line in lines:
        del line["has_tolerance"]
    compared = len(checked.rows_with_tolerance)
    others = f"\nNo tolerance: {len(rows) - compared} tensors, whose rounding in float32 has no bound; use float64"
    show(
        {"passed": checked.passed, **ends, "compared": compared, "no_tolerance": len(rows) - compared, "rows": rows},
        f"{table(lines)}\n{'Passed' if checked.passed else 'FAILED'}: {compared} tensors, worst "
        f"{worst.tensor}, which requires a tolerance of {worst.required_tolerance:.1e}"
        + (others if compared < len(rows) else "")
        + (f"\nGolden numbers {dump}" if dump else ""),
        as_json,
    )
    checked.raise_if_failed()
