"""The command that writes a run as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import glassnet as gn
from glassnet.cli.app import Json, RunPath, Weights, app, show


@app.command(epilog="Example: glassnet export runs/a model.onnx")
def export(
    run: RunPath,
    file: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    input: Annotated[
        str,
        typer.Option(
            metavar="uint8|float32",
            help="Input of the network: uint8 images (N, H, W, C) from 0 to 255, as Pillow and NumPy have them, or "
            "float32 images (N, C, H, W) from 0 to 1.",
        ),
    ] = "uint8",
    weights: Weights = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data whose test images ONNX Runtime is compared on. Default: the run's, else drawn images."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare ONNX Runtime's outputs with the run's before writing.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Write the network of a run as an ONNX file that needs no glassnet, if ONNX Runtime computes the same from it."""
    written = gn.export(run, file, input=input, weights=weights, data=data, verify=verify)
    lines = [f"ONNX file {written.path}: opset {written.opset}, {written.input} input, {written.size:,} bytes"]
    lines.append(str(written.verification) if written.verification else "Not verified")
    show({"run": str(run), **written.to_dict()}, "\n".join(lines), as_json)
