"""Studies of what is inside a network: each leaves one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import glassnet as gn
from glassnet.architecture import ResNetSpec
from glassnet.cli.app import (
    DEPTH_STUDY_SETS,
    Engine,
    Fit,
    ImageSize,
    Json,
    OtherData,
    PresetOrRun,
    RecipeName,
    RunPath,
    RunSource,
    StudyOutput,
    SuitedPreset,
    Weights,
    model_spec,
    show_study,
    study,
)
from glassnet.cli.options import separate, with_settings
from glassnet.errors import ConfigError
from glassnet.formats import format_accuracy, format_loss
from glassnet.progress import current_progress
from glassnet.recipe import Recipe


@study.command(epilog="Example: glassnet study convolution photo.jpg --model resnet20")
@with_settings(ResNetSpec, without={"preset"})
def convolution(
    settings: dict[str, Any],
    image: Annotated[Path | None, typer.Argument(help="Image file of any size. Default: a digit.")] = None,
    model: Annotated[
        str, typer.Option(help="Name of a preset, or a run folder, whose receptive fields are computed.")
    ] = "tiny",
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Show the responses of kernels, the effect of options on sizes, and the receptive field of each layer."""
    from glassnet.studies import convolution as module
    from glassnet.studies.study import default_output

    measured = module.run_study(image, model_spec(model, settings))
    show_study(measured, module.build_page(measured), output or default_output("convolution", image, model), as_json)


@study.command(epilog="Example: glassnet study parameters resnet20 --output parameters.html")
@with_settings(ResNetSpec, without={"preset"})
def parameters(
    settings: dict[str, Any], model: PresetOrRun = "tiny", output: StudyOutput = None, as_json: Json = False
) -> None:
    """Count the parameters of each convolution and of a dense layer for the same shapes."""
    from glassnet.studies import parameters as module
    from glassnet.studies.study import default_output

    measured = module.run_study(model_spec(model, settings))
    rows = [
        {"layer": layer.name, "shapes": layer.shapes, "parameters": layer.parameters, "dense": layer.dense}
        for layer in measured.layers
    ]
    show_study(measured, module.build_page(measured), output or default_output("parameters", model), as_json, rows)


@study.command("gradient-flow", epilog="Example: glassnet study gradient-flow digits --depths 8,20,56 --steps 40")
@with_settings(ResNetSpec, without=DEPTH_STUDY_SETS)
def gradient_flow(
    settings: dict[str, Any],
    source: RunSource = None,
    run: Annotated[Path | None, typer.Option(help="Run folder whose blocks are measured, too.")] = None,
    depths: Annotated[str, typer.Option(help="Numbers of layers, 6n + 2.")] = "8,20,56",
    norms: Annotated[str, typer.Option(help="Normalizations: batch, none, or both.")] = "batch,none",
    steps: Annotated[int, typer.Option(help="Number of training steps of each network.")] = 40,
    width: Annotated[int, typer.Option(help="Number of channels of the first stage.")] = 8,
    engine: Engine = "numpy",
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the batches.")] = 42,
    image_size: ImageSize = None,
    fit: Fit = "crop",
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Follow the gradient to the first layers of plain and residual networks, and through both paths of a block."""
    from glassnet.studies import gradient_flow as module
    from glassnet.studies.study import default_output
    from glassnet.training.evaluation_data import data_for_model

    model = None if run is None else gn.load(run, engine=engine)
    if model is None:
        data = gn.load_data(source or "digits", image_size=image_size, fit=fit)
    else:
        data = data_for_model(model, source)
    measured = module.run_study(
        data,
        None if model is None else model.network,
        name=str(run),
        normalization=None if model is None else model.normalization,
        depths=separate("depths", depths, int),
        norms=norms.split(","),
        steps=steps,
        width=width,
        engine=engine,
        seed=seed,
        progress=current_progress(),
        **settings,
    )
    show_study(
        measured,
        module.build_page(measured),
        output or default_output("gradient-flow", run, source or (None if run else "digits")),
        as_json,
    )


# What the study sets by itself.
LR_RANGE_SETS = ("lr", "schedule", "warmup", "ema", "epochs", "validation_fraction", "patience", "seed")
NO_AUGMENTATION = ("augment", "rotate", "translate", "jitter")


@study.command("lr-range", epilog="Example: glassnet study lr-range digits --model tiny-bn --optimizer adam")
@with_settings(ResNetSpec, Recipe, without={"preset", "image_size", *LR_RANGE_SETS, *NO_AUGMENTATION})
def lr_range(
    settings: dict[str, Any],
    source: RunSource = None,
    model: SuitedPreset = None,
    run: Annotated[Path | None, typer.Option(help="Run folder whose network, weights and recipe are tested.")] = None,
    recipe: RecipeName = "default",
    min_lr: Annotated[float, typer.Option(help="First learning rate.")] = 1e-5,
    max_lr: Annotated[float, typer.Option(help="Last learning rate, unless the loss diverges before.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Number of learning rates, each for one step.")] = 100,
    image_size: ImageSize = None,
    fit: Fit = "crop",
    engine: Engine = "numpy",
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the batches.")] = 42,
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Raise the learning rate until the loss diverges, and suggest one; the network itself is not changed."""
    from glassnet.recipe import get_recipe
    from glassnet.studies import lr_range as module
    from glassnet.studies.study import default_output
    from glassnet.training.evaluation_data import data_for_model
    from glassnet.training.run import spec_for_data, split_fields

    spec_fields, recipe_fields = split_fields(settings, ResNetSpec, Recipe)
    if run is not None:
        if spec_fields:
            raise ConfigError(f"{next(iter(spec_fields))} must be left out with --run. Got a run folder, {run}.")
        trained = gn.load(run, engine=engine)
        data, network, normalization = data_for_model(trained, source), trained.network, trained.normalization
        tried = Recipe(**(trained.config.get("recipe") or {}))
    else:
        data = gn.load_data(source or "digits", image_size=image_size, fit=fit)
        network, normalization = gn.build(spec_for_data(model, data, **spec_fields), engine, seed), None
        tried = get_recipe(network.spec.preset, recipe)
    measured = module.run_study(
        network,
        data,
        tried.replace(**recipe_fields),
        normalization=normalization,
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        seed=seed,
        progress=current_progress(),
    )
    show_study(
        measured,
        module.build_page(measured),
        output or default_output("lr-range", run, source or (None if run else "digits"), model),
        as_json,
    )


@study.command(epilog="Example: glassnet study augmentation digits --augment crop --rotate 10")
@with_settings(Recipe, without={*Recipe.types()} - {"augment", "rotate", "translate", "jitter", "seed"})
def augmentation(
    settings: dict[str, Any],
    source: Annotated[str, typer.Argument(help="Data, as in glassnet train.")] = "digits",
    model: SuitedPreset = None,
    recipe: RecipeName = "default",
    images: Annotated[int, typer.Option(help="Number of images, of each class in turn.")] = 6,
    epochs: Annotated[int, typer.Option(help="Number of epochs in which each image is shown.")] = 3,
    image_size: ImageSize = None,
    fit: Fit = "crop",
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Show training images before and after their augmentation, as a training reads them, with the numbers drawn."""
    from glassnet.recipe import get_recipe
    from glassnet.studies import augmentation as module
    from glassnet.studies.study import default_output
    from glassnet.training.epoch_batches import add_larger_images
    from glassnet.training.run import spec_for_data

    data = gn.load_data(source, image_size=image_size, fit=fit)
    used = get_recipe(spec_for_data(model, data).preset, recipe, **settings)
    add_larger_images(data, used)
    measured = module.run_study(data, used, n_images=images, n_epochs=epochs)
    show_study(measured, module.build_page(measured), output or default_output("augmentation", source), as_json)


@study.command(epilog="Example: glassnet study ablation runs/a --output ablation.html")
def ablation(
    run: RunPath,
    data: OtherData = None,
    weights: Weights = None,
    engine: Engine = "numpy",
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Remove each residual block of a run in turn and measure the loss of accuracy on the test images."""
    from glassnet.pages.text import format_points
    from glassnet.studies import ablation as module
    from glassnet.studies.study import default_output
    from glassnet.training.evaluation_data import evaluation_data

    model = gn.load(run, weights, engine)
    measured = module.run_study(
        model, None if data is None else evaluation_data(model, data), progress=current_progress()
    )
    rows = [
        {
            "without": block.block,
            "remaining path": block.remaining_path,
            "accuracy": format_accuracy(block.accuracy),
            "drop (points)": format_points(block.accuracy_drop),
            "loss": format_loss(block.loss),
            "p-value": float(f"{block.p_value:.2g}"),
        }
        for block in measured.blocks
    ]
    show_study(measured, module.build_page(measured), output or default_output("ablation", run, data), as_json, rows)
