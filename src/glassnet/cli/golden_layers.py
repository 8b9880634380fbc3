"""The command that writes golden references of single operations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassnet.cli.app import Json, golden, show
from glassnet.formats import pluralize


@golden.command(epilog="Example: glassnet golden layers golden/layers")
def layers(
    folder: Annotated[Path, typer.Argument(help="New or empty folder for the references.")],
    dtype: Annotated[str, typer.Option(metavar="float64|float32", help="Type of the numbers.")] = "float64",
    seed: Annotated[int, typer.Option(help="Seed of inputs, parameters and gradients.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Write a reference of every kind of operation with its options, so that a port's layers are checked one by one."""
    from glassnet.verify import golden as reference
    from glassnet.verify.golden.operation_bundles import collection_names

    names = collection_names(reference.write_layers(folder, dtype=dtype, seed=seed)) or []
    lines = [
        f"References {folder}: {pluralize(len(names), 'operation')}, {', '.join(names[:4])}, ...",
        f"Next: write what your port computes of each to DUMP/{names[0]}, ..., and glassnet golden check {folder} DUMP",
    ]
    show({"folder": str(folder), "operations": names}, "\n".join(lines), as_json)
