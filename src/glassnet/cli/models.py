"""Commands that look at a model before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import glassnet as gn
from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.cli.app import Json, PresetOrRun, app, model_spec, show, table
from glassnet.cli.options import with_settings
from glassnet.recipe import RECIPES


@app.command(epilog="Example: glassnet models")
def models(as_json: Json = False) -> None:
    """List the presets: parameters, images, and recipes."""
    from glassnet.layer_graph import parameter_count

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
@with_settings(ResNetSpec, without={"preset"})
def summary(model: PresetOrRun, settings: dict[str, Any], as_json: Json = False) -> None:
    """Print the layer table: output shape, parameters, multiply-adds and activation memory of one image."""
    from glassnet.measures import layer_table

    is_run = not settings and model not in PRESETS and Path(model).is_dir()
    network = gn.load(model).network if is_run else gn.build(model_spec(model, settings))
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
