"""Commands of the studies that train many networks: one page each, and a folder of runs that later calls reuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    RecipeName,
    Samples,
    StudyOutput,
    SuitedPreset,
    TestSamples,
    show_study,
    study,
)
from glassnet.cli.options import separate, with_settings
from glassnet.errors import RunError
from glassnet.progress import current_progress

Seeds = Annotated[int, typer.Option(help="Number of seeds that every network is trained with, from 0.", min=1)]
Folder = Annotated[
    Path | None,
    typer.Option(help="Folder of the runs; finished runs in it are reused. Default: studies/STUDY-SOURCE."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Number of processes that train at the same time. Default: one for each core with numpy, one with torch.",
        min=1,
    ),
]


@study.command(epilog="Example: glassnet study degradation digits --depths 8,20,56 --seeds 3")
@with_settings(ResNetSpec, without=DEPTH_STUDY_SETS)
def degradation(
    settings: dict[str, Any],
    source: Annotated[str, typer.Argument(help="Data, as in glassnet train.")] = "digits",
    depths: Annotated[str, typer.Option(help="Numbers of layers, 6n + 2, separated by commas.")] = "8,20,32,56",
    norms: Annotated[str, typer.Option(help="Normalizations, separated by commas: batch, none.")] = "batch,none",
    seeds: Seeds = 3,
    epochs: Annotated[int, typer.Option(help="Number of passes over the training images.")] = 10,
    width: Annotated[int, typer.Option(help="Number of channels of the first stage.")] = 8,
    folder: Folder = None,
    engine: Engine = "numpy",
    workers: Workers = None,
    image_size: ImageSize = None,
    fit: Fit = "crop",
    samples: Samples = None,
    test_samples: TestSamples = None,
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Train plain and residual networks of several depths and compare their training errors."""
    from glassnet.studies import degradation as module
    from glassnet.studies.study import default_output

    with _report_interrupt():
        measured = module.run_study(
            gn.load_data(source, image_size=image_size, fit=fit, samples=samples, test_samples=test_samples),
            depths=separate("depths", depths, int),
            norms=norms.split(","),
            seeds=seeds,
            epochs=epochs,
            width=width,
            folder=folder,
            engine=engine,
            workers=_workers(workers, engine),
            progress=current_progress(),
            **settings,
        )
    show_study(
        measured,
        module.build_page(measured),
        output or default_output("degradation", source),
        as_json,
        module.table_rows(measured),
    )


@study.command(
    epilog="Example: glassnet study sweep digits --model tiny blocks=1,2 pool=max,stride dropout=0,.3 norm=none,batch "
    "--seeds 3 --epochs 3"
)
def sweep(
    source: Annotated[str, typer.Argument(help="Data, as in glassnet train.")],
    fields: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE,VALUE...",
            help="Fields of the model and the recipe, named as the options of glassnet train but with _ for -; one "
            "value fixes a field. Blocks that differ by stage are written 1+2+3.",
        ),
    ],
    model: SuitedPreset = None,
    recipe: RecipeName = "default",
    seeds: Seeds = 3,
    epochs: Annotated[int | None, typer.Option(help="Number of passes over the training images.")] = None,
    validation_fraction: Annotated[
        float,
        typer.Option(help="Fraction of the training images to compare settings on; 0 takes the test images."),
    ] = 0.2,
    folder: Folder = None,
    engine: Engine = "numpy",
    workers: Workers = None,
    image_size: ImageSize = None,
    fit: Fit = "crop",
    samples: Samples = None,
    test_samples: TestSamples = None,
    output: StudyOutput = None,
    as_json: Json = False,
) -> None:
    """Train every combination of settings with every seed, and test the effect of each setting."""
    from glassnet.studies import sweep as module
    from glassnet.studies.study import default_output

    param_grid = module.parse_grid(fields)
    fixed: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    with _report_interrupt():
        measured = module.run_study(
            gn.load_data(source, image_size=image_size, fit=fit, samples=samples, test_samples=test_samples),
            param_grid,
            model=model,
            recipe=recipe,
            seeds=seeds,
            validation_fraction=validation_fraction,
            folder=folder,
            engine=engine,
            workers=_workers(workers, engine),
            progress=current_progress(),
            **fixed,
        )
    show_study(
        measured,
        module.build_page(measured),
        output or default_output("sweep", source),
        as_json,
        markdown=module.markdown(measured),
    )


def _workers(given: int | None, engine: str) -> int:
    from glassnet.resources import usable_cores

    return given or (usable_cores() if engine == "numpy" else 1)  # such small networks gain little from threads


@contextmanager
def _report_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise RunError(
            "The study was interrupted. The same command resumes it from the last finished epochs."
        ) from None
