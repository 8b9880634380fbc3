"""``train``: a model, data and a recipe become a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from glassnet.architecture import ResNetSpec, default_preset
from glassnet.architecture import spec as preset
from glassnet.data import Dataset, Normalization, load_data
from glassnet.engines import Network, Processes, build
from glassnet.engines.processes import beside
from glassnet.errors import ConfigError, choice_error
from glassnet.nn.checks import check_int
from glassnet.progress import Progress, TerminalProgress
from glassnet.recipe import Recipe, get_recipe
from glassnet.training.config import DataConfig, check_resumable, data_config, run_config
from glassnet.training.initial_weights import InitialWeights
from glassnet.training.loop import Course, Loop, split_validation, take_part
from glassnet.training.run_files import Record
from glassnet.training.run_folder import RunFolder


@dataclass(frozen=True)
class Run:
    """A training's run folder and its records, one for each epoch."""

    path: Path
    history: list[Record]

    @property
    def metrics(self) -> Record:
        """The record of the last epoch."""
        return self.history[-1]


def train(
    model: str | ResNetSpec | None,
    data: str | PathLike[str] | Dataset,
    engine: str = "numpy",
    *,
    run: str | PathLike[str] | None = None,
    recipe: str | Recipe = "default",
    dtype: str = "float32",
    device: str = "auto",
    precision: str | None = None,
    compile: bool = False,
    threads: int | None = None,
    channels_last: bool | None = None,
    kernels: str = "fast",
    devices: int = 1,
    init: str | PathLike[str] | None = None,
    freeze: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stop_after_epoch: int | None = None,
    evaluate_train: bool = False,
    image_size: int | None = None,
    samples: int | None = None,
    max_unreadable: float = 0.01,
    progress: Progress | None = None,
    before: Callable[[Network, Dataset], None] | None = None,
    **fields: Any,
) -> Run:
    """Train a model on data and leave a run folder.

    ``model`` is a preset's name, which takes channels, size and classes from the data, or a spec, which must agree
    with it; None takes the preset that suits the images' size. ``data`` is a Dataset, or what ``load_data`` takes,
    with ``image_size``, ``samples`` and ``max_unreadable``. ``recipe`` is a Recipe or the name of one of the preset's;
    further keywords are fields of Recipe or ResNetSpec. ``run`` is the folder, by default a new one in ``runs/``.
    ``init`` is a run folder or a weights file to start from: all but the head (``fc``) is taken over, and from a run
    its model, its image size and its mean and std as well (a file has none; ``import_weights`` makes a run of it);
    ``freeze="backbone"`` then trains the head alone.
    ``devices`` is how many GPUs, or on a CPU processes, of the torch engine share each batch: their gradients add up to
    the whole batch's, and so the training is the one of a single device, but for BatchNorm, which normalizes each
    share by itself and keeps the first one's running statistics. A script then trains under
    ``if __name__ == "__main__":``.
    ``stop_after_epoch`` ends early, after so many epochs of the whole schedule; ``resume`` continues.
    ``evaluate_train`` also measures the training split in evaluation mode after each epoch. ``before`` is
    called with the network and the data before the first epoch; what it raises ends the training before anything is
    written. ``progress`` shows what happens, by default on stderr.

    :raises ConfigError: an unknown model, recipe or field, or values that are not allowed.
    :raises DataError: data that cannot be used.
    :raises RunError: a folder in use, a resume with other settings, or a loss that is not finite; the folder then
        holds the last good epoch.
    """
    if stop_after_epoch is not None:
        check_int("stop_after_epoch", stop_after_epoch)
    evaluate_train = bool(evaluate_train)
    if resume and overwrite:
        raise ConfigError("resume and overwrite exclude each other.")
    if resume and run is None:
        raise ConfigError("resume needs run, the folder of the run that is to go on.")
    devices = check_int("devices", devices)
    if freeze not in (None, "backbone") or (freeze and init is None):
        raise ConfigError(f"freeze must be None, or 'backbone' together with init. Got {freeze!r}.")
    if run is not None:
        RunFolder(run).check_available(resume=resume, overwrite=overwrite)
    initial_weights = InitialWeights() if init is None else InitialWeights.load(init)
    if not isinstance(data, Dataset):
        size = image_size if image_size is not None or initial_weights.spec is None else initial_weights.spec.size
        data = load_data(data, image_size=size, samples=samples, max_unreadable=max_unreadable)
    normalization = initial_weights.normalization_for(data)
    spec_fields, recipe_fields = split_fields(fields)
    spec = spec_for_data(initial_weights.model(model, len(data.classes)), data, **spec_fields)
    if not isinstance(recipe, Recipe):
        recipe = get_recipe(spec.preset, recipe)
    recipe = recipe.replace(**recipe_fields)
    folder = RunFolder(_new_path(spec, data) if run is None else run)
    compute: dict[str, Any] = {"device": device, "precision": precision, "compile": compile, "threads": threads}
    compute |= {"channels_last": channels_last, "kernels": kernels}
    built = partial(build, spec, engine, recipe.seed, dtype, **compute)
    network = built(processes=Processes.first_of(devices))
    if init is not None:
        initial_weights.lay(network)
    config = run_config(
        network,
        recipe.seed,
        _described(data, normalization),
        recipe=recipe,
        evaluate_train=evaluate_train,
        init=initial_weights.described,
        freeze=freeze,
    )
    training, validation = split_validation(data.train, recipe, data.classes)
    begun = None
    if resume and folder.has_checkpoint:
        check_resumable(folder.read_config(), config, folder.path)
        begun = folder.restore()
        network.load_state_dict(begun.network)
        if begun.epoch < recipe.epochs:
            folder.write_config(config)
    else:
        smallest = len(training) % recipe.batch_size or recipe.batch_size
        _check_fit(network, data, normalization, max(1, smallest // network.processes.count))
        if before is not None:
            before(network, data)
        folder.check_available(resume=resume, overwrite=overwrite)  # it was, before the data were loaded
        folder.create(config)
    epochs = range(begun.epoch if begun else 0, min(recipe.epochs, stop_after_epoch or recipe.epochs))
    if begun and not epochs:
        folder.unlock()
        return Run(folder.path, begun.records)
    course = (recipe, training, normalization, freeze)
    progress = progress or TerminalProgress()
    progress.log(f"[{network.engine_title}] on {network.device_description}")
    if data.unreadable_files:
        count = len(data.train) + len(data.test) + len(data.unreadable_files)
        first = "; ".join(data.unreadable_files[:3]) + ("; ..." if len(data.unreadable_files) > 3 else "")
        progress.log(
            f"[{network.engine_title}] {len(data.unreadable_files):,} of {count:,} images could not be read and "
            f"were left out: {first}"
        )
    if init is not None and initial_weights.normalization is None:
        progress.log(
            f"[{network.engine_title}] {init} is a file of weights, which says nothing of mean and std: the data's are "
            "used. To keep others, make a run of it with glassnet import."
        )
    try:
        with beside(network.processes, take_part, built, course, begun, epochs):
            loop = Loop(Course(network, *course), data, validation, normalization, folder, progress, evaluate_train)
            if begun:
                loop.restore(begun)
            loop.run(epochs.stop)
    except (Exception, KeyboardInterrupt):
        folder.discard()
        raise
    return Run(folder.path, loop.records)


def spec_for_data(model: str | ResNetSpec | None, data: Dataset, **fields: Any) -> ResNetSpec:
    """A preset with the data's channels, size and classes, or the given spec where it agrees with them; then changed.

    :raises ConfigError: an unknown preset or field, or a spec that disagrees with the data; names the field.
    """
    measured = {"in_channels": data.channels, "image_size": data.image_size, "classes": len(data.classes)}
    if isinstance(model, ResNetSpec):
        spec = model.replace(**fields)
    else:
        name = default_preset(data.image_size) if model is None else model
        spec = preset(name, **{**measured, **fields})
    own = {"in_channels": spec.in_channels, "image_size": spec.size, "classes": spec.classes}
    for name, value in measured.items():
        if own[name] != value:
            raise ConfigError(f"The {name} of the model is {own[name]}, of the data {value}; they must be equal.")
    return spec


def split_fields(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords that are ResNetSpec's, and those that are Recipe's."""
    of_spec, of_recipe = ([field.name for field in dataclasses.fields(kind)] for kind in (ResNetSpec, Recipe))
    for name in fields:
        if name not in of_spec + of_recipe:
            raise choice_error("A field of a model or a recipe", of_spec + of_recipe, name)
    return (
        {name: value for name, value in fields.items() if name in of_spec},
        {name: value for name, value in fields.items() if name in of_recipe},
    )


def _new_path(spec: ResNetSpec, data: Dataset) -> Path:
    """The first of runs/MODEL-DATA, runs/MODEL-DATA-2, ... that does not exist."""
    name = f"{spec.preset}-{Path(data.source['source']).name}"
    candidates = (Path("runs", name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in candidates if not path.exists())


def _described(data: Dataset, normalization: Normalization) -> DataConfig:
    return data_config(
        data.source,
        normalization,
        data.classes,
        fingerprint=data.fingerprint,
        train=len(data.train),
        test=len(data.test),
        unreadable_files=tuple(data.unreadable_files),
    )


def _check_fit(network: Network, data: Dataset, normalization: Normalization, smallest: int) -> None:
    """Refuse images, or a last batch, too small for the network before anything is written; they train nothing."""
    few = data.train.take(np.arange(min(smallest, 2)))
    network.gradients(normalization.apply(few.images, network.dtype), few.labels)
