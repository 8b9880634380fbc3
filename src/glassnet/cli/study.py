"""Studies of what is inside a network: each leaves one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import glassnet as gn
from glassnet.cli.app import (
    Engine,
    ImageSize,
    Json,
    OtherData,
    RunPath,
    StudyOutput,
    Weights,
    integers,
    show_study,
    study,
)
from glassnet.progress import TerminalProgress

if TYPE_CHECKING:
    from glassnet.architecture import ResNetSpec

PresetOrRun = Annotated[str, typer.Argument(help="A preset, or a run folder.")]


def _spec(model: str) -> ResNetSpec:
    """Of a run folder, or of a preset where there is one of that name."""
    from glassnet.architecture import PRESETS

    return gn.load(model).network.spec if model not in PRESETS and Path(model).is_dir() else gn.spec(model)


@study.command(epilog="Example: glassnet study convolution photo.jpg --model resnet20")
def convolution(
    image: Annotated[Path | None, typer.Argument(help="An image of any size. The default is a digit.")] = None,
    model: Annotated[str, typer.Option(help="A preset, or a run folder, whose receptive fields are shown.")] = "tiny",
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Show what kernels answer to, what options do to sizes, and how far each layer sees."""
    from glassnet.studies import convolution as module
    from glassnet.studies.study import default_output

    measured = module.run_study(image, _spec(model))
    show_study(measured, module.build_page(measured), output or default_output("convolution", image, model), as_json)


@study.command(epilog="Example: glassnet study parameters resnet20 --output parameters.html")
def parameters(model: PresetOrRun = "tiny", output: StudyOutput = None, as_json: Json = False) -> None:
    """Count parameters: each convolution against a dense layer for the same map."""
    from glassnet.studies import parameters as module
    from glassnet.studies.study import default_output

    measured = module.run_study(_spec(model))
    rows = [
        {"layer": layer.name, "shapes": layer.shapes, "parameters": layer.parameters, "dense": layer.dense}
        for layer in measured.layers
    ]
    show_study(measured, module.build_page(measured), output or default_output("parameters", model), as_json, rows)


@study.command("gradient-flow", epilog="Example: glassnet study gradient-flow digits --depths 8,20,56 --steps 40")
def gradient_flow(
    source: Annotated[str | None, typer.Argument(help="As of train. The default is the run's own, or digits.")] = None,
    run: Annotated[Path | None, typer.Option(help="Split the gradient in this run's blocks.")] = None,
    depths: Annotated[str, typer.Option(help="Layers of each network, 6n + 2.")] = "8,20,56",
    norms: Annotated[str, typer.Option(help="batch, none, or both.")] = "batch,none",
    steps: Annotated[int, typer.Option(help="Steps that each network is trained.")] = 40,
    width: Annotated[int, typer.Option(help="Channels of the first stage.")] = 8,
    engine: Engine = "numpy",
    seed: Annotated[int, typer.Option(help="Of the weights and the batches.")] = 42,
    image_size: ImageSize = None,
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Follow the gradient back to the first layers, plain against residual, and through each block's two paths."""
    from glassnet.studies import gradient_flow as module
    from glassnet.studies.study import default_output
    from glassnet.training.evaluation_data import data_for_model

    model = None if run is None else gn.load(run, engine=engine)
    measured = module.run_study(
        gn.load_data(source or "digits", image_size=image_size) if model is None else data_for_model(model, source),
        None if model is None else model.network,
        name=str(run),
        normalization=None if model is None else model.normalization,
        depths=integers("depths", depths),
        norms=norms.split(","),
        steps=steps,
        width=width,
        engine=engine,
        seed=seed,
        progress=TerminalProgress(),
    )
    show_study(
        measured,
        module.build_page(measured),
        output or default_output("gradient-flow", run, source or (None if run else "digits")),
        as_json,
    )


@study.command("lr-range", epilog="Example: glassnet study lr-range digits --model tiny-bn --optimizer adam")
def lr_range(
    source: Annotated[str | None, typer.Argument(help="As of train. The default is the run's own, or digits.")] = None,
    model: Annotated[str | None, typer.Option(help="A preset. The default goes by the images' size.")] = None,
    run: Annotated[Path | None, typer.Option(help="Test this run's network and recipe, from its weights.")] = None,
    recipe: Annotated[str, typer.Option(help="A recipe of the preset, see 'glassnet models'.")] = "default",
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam or adamw, in place of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step, in place of the recipe's.")] = None,
    min_lr: Annotated[float, typer.Option(help="First learning rate.")] = 1e-5,
    max_lr: Annotated[float, typer.Option(help="Last learning rate, unless the loss diverges before.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Number of learning rates, each for one step.")] = 100,
    image_size: ImageSize = None,
    engine: Engine = "numpy",
    seed: Annotated[int, typer.Option(help="Of the weights and the batches.")] = 42,
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Let the learning rate grow until the loss diverges, and suggest one; the network itself is not touched."""
    from glassnet.recipe import Recipe, get_recipe
    from glassnet.studies import lr_range as module
    from glassnet.studies.study import default_output
    from glassnet.training.evaluation_data import data_for_model
    from glassnet.training.run import spec_for_data

    if run is not None:
        trained = gn.load(run, engine=engine)
        data, network, normalization = data_for_model(trained, source), trained.network, trained.normalization
        tried = Recipe(**(trained.config.get("recipe") or {}))
    else:
        data = gn.load_data(source or "digits", image_size=image_size)
        network, normalization = gn.build(spec_for_data(model, data), engine, seed), None
        tried = get_recipe(network.spec.preset, recipe)
    changes = {"optimizer": optimizer, "batch_size": batch_size}
    tried = tried.replace(**{name: value for name, value in changes.items() if value is not None})
    measured = module.run_study(
        network,
        data,
        tried,
        normalization=normalization,
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        seed=seed,
        progress=TerminalProgress(),
    )
    show_study(
        measured,
        module.build_page(measured),
        output or default_output("lr-range", run, source or (None if run else "digits"), model),
        as_json,
    )


@study.command(epilog="Example: glassnet study ablation runs/a --output ablation.html")
def ablation(
    run: RunPath,
    data: OtherData = None,
    weights: Weights = None,
    engine: Engine = "numpy",
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Switch off each residual block of a run in turn and measure what it was worth on the test images."""
    from glassnet.studies import ablation as module
    from glassnet.studies.study import default_output
    from glassnet.training.evaluation_data import evaluation_data

    model = gn.load(run, weights, engine)
    measured = module.run_study(
        model, None if data is None else evaluation_data(model, data), progress=TerminalProgress()
    )
    rows = [
        {
            "without": block.block,
            "remaining path": block.remaining_path,
            "accuracy": block.accuracy,
            "drop (points)": 100 * block.accuracy_drop,
            "loss": block.loss,
            "p-value": block.p_value,
        }
        for block in measured.blocks
    ]
    show_study(measured, module.build_page(measured), output or default_output("ablation", run, data), as_json, rows)
