"""Commands that look at a model before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import glassnet as gn
from glassnet.cli.app import Json, app, show, table


@app.command(epilog="Example: glassnet models")
def models(as_json: Json = False) -> None:
    """List the presets: parameters, images, and recipes."""
    from glassnet.architecture import PRESETS
    from glassnet.layer_graph import parameter_count
    from glassnet.recipe import RECIPES

    rows = [
        {
            "model": name,
            "parameters": parameter_count(spec),
            "images": f"{spec.in_channels}×{spec.size[0]}×{spec.size[1]}",
            "blocks": " + ".join(map(str, spec.blocks)),
            "recipes": ", ".join(RECIPES[name]),
        }
        for name, spec in PRESETS.items()
    ]
    show({"models": rows}, table(rows), as_json)


@app.command(epilog="Example: glassnet summary resnet20 --classes 4 --image-size 64")
def summary(
    model: Annotated[str, typer.Argument(help="A preset, or a run folder.")],
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images, in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    as_json: Json = False,
) -> None:
    """Print the layer table: output shape, parameters, multiply-adds and activation memory of one image."""
    from glassnet.architecture import PRESETS
    from glassnet.measures import layer_table

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
    show(
        {"model": model, "layers": rows, "total": totals},
        table([*rows, {"layer": "total", "output": "", **totals}]),
        as_json,
    )
