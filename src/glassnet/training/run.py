"""``train``, which makes a run folder from a model, data and a recipe."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from glassnet.architecture import PRESETS, ResNetSpec, default_preset
from glassnet.architecture import spec as get_spec
from glassnet.data import Dataset, count_batches, load_data
from glassnet.data.images.image_form import Fit
from glassnet.data.sources import is_converted
from glassnet.engines import Compute, Network, ProcessGroup
from glassnet.errors import ConfigError, GlassnetError, choice_error
from glassnet.formats import pluralize
from glassnet.nn.checks import check_int
from glassnet.progress import Progress, TerminalProgress, show_progress
from glassnet.recipe import Recipe, get_recipe
from glassnet.settings import Settings
from glassnet.training.config import RunConfig, data_config, run_config
from glassnet.training.early_stopping import check_patience, describe_end, has_stopped
from glassnet.training.epoch_batches import add_larger_images
from glassnet.training.image_table import ImageTable
from glassnet.training.initial_weights import InitialWeights
from glassnet.training.loop import EpochLoop, FitLoop, TrainingTask, split_validation
from glassnet.training.processes import check_same_settings, resolve_shards, train_together
from glassnet.training.resuming import compute_of_run, model_of_run, restore, stored_config
from glassnet.training.run_files import Checkpoint
from glassnet.training.run_folder import RunFolder, UnwrittenRunFolder
from glassnet.training.start_lines import few_steps, start_lines
from glassnet.training.trained_run import Run


def train(
    model: str | ResNetSpec | None,
    data: str | PathLike[str] | Dataset,
    engine: str | None = None,
    *,
    run: str | PathLike[str] | None = None,
    recipe: str | Recipe | None = None,
    init: str | PathLike[str] | None = None,
    freeze: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stop_after_epoch: int | None = None,
    evaluate_train: bool | None = None,
    image_size: int | None = None,
    samples: int | None = None,
    test_samples: int | Literal["all"] | None = None,
    max_unreadable: float | None = None,
    fit: Fit | None = None,
    value_range: tuple[float, float] | None = None,
    max_pixels: int | None = None,
    ink: bool | None = None,
    progress: Progress | None = None,
    before: Callable[[Network, Dataset], None] | None = None,
    group: ProcessGroup | None = None,
    **fields: Any,
) -> Run:
    """Train a model on data and write a run folder.

    Several ``devices`` (a field of Compute) of the torch engine share each batch: this starts that many processes of
    this machine with torchrun and waits for them. Where torchrun or srun has started this process as one of several,
    they train together, and all of them return the run; the first one alone writes its folder. The recipe's ``shards``
    makes the training the same for any number of processes that divides it.

    A run that is resumed has its own settings: only those that are given are compared with them, and only where and how
    it is computed may differ.

    The mean and std that normalize images are measured on all training images, before ``validation_fraction`` holds
    some of them out.

    :param model: a preset's name, which takes channels, size and classes from the data; a spec, which must agree with
        the data; or None for that of ``init``, or else the preset that suits the images' size.
    :param data: a Dataset, or what ``load_data`` takes, with ``image_size``, ``samples``, ``test_samples``,
        ``max_unreadable``, ``fit``, ``value_range``, ``max_pixels`` and ``ink``.
    :param engine: "numpy" (the default) or "torch".
    :param run: the run folder; None means a new one in ``runs/``.
    :param recipe: a Recipe, or the name of one of the preset's. Default: "default".
    :param init: a run folder or a weights file with the initial weights of all layers but the head (``fc``). Both give
        the model, a file the one that ``recognize`` finds. Image files are converted to its channels and, unless
        another is given, to its image size. A run also gives its fit and range of values (unless others are given), and
        its mean and std (``import_weights`` makes a run of a file).
    :param freeze: ``backbone`` keeps the weights of ``init`` and trains the head alone.
    :param resume: continue the run in the folder, if it has a finished epoch.
    :param overwrite: replace the run in the folder.
    :param stop_after_epoch: stop early, after this epoch of the whole schedule.
    :param evaluate_train: also evaluate the training images after each epoch.
    :param ink: whether the files that ``predict`` is given are drawn digits, which are brought to the form of the
        built-in digits. Default: for those, yes.
    :param progress: receives log lines and steps; None shows them on stderr.
    :param before: a function that is called as ``before(network, dataset)`` before a new run is written. An error that
        it raises ends the training, and nothing is written.
    :param group: the processes that train together and have joined; None means those of the environment, or
        ``devices`` new ones.
    :param fields: further fields of Compute, Recipe and ResNetSpec.
    :raises ConfigError: if a model, recipe or field is unknown, or a value is not allowed.
    :raises DataError: if the data cannot be used.
    :raises RunError: if the folder is in use, a resumed run has other settings than those that are given, or the
        training diverges; the folder then has the last finished epoch.
    """
    if group is None:
        return train_together(train, {name: value for name, value in locals().items() if name != "fields"} | fields)
    _check_options(run, resume, overwrite, stop_after_epoch)
    if run is not None and group.is_first:
        RunFolder(run).check_available(resume=resume, overwrite=overwrite)
    stored = group.from_first(lambda: stored_config(RunFolder(run)) if run is not None and resume else None)
    _check_freeze(freeze, init, stored)
    progress = (progress or TerminalProgress()) if group.is_first else Progress()
    with show_progress(progress):
        initial_weights = group.from_first(lambda: _initial_weights(init, stored, run))
    given = {
        **{"image_size": image_size, "samples": samples, "test_samples": test_samples, "fit": fit, "ink": ink},
        **{"max_unreadable": max_unreadable, "value_range": value_range, "max_pixels": max_pixels},
    }
    spec_fields, recipe_fields, compute_fields = split_fields(fields, ResNetSpec, Recipe, Compute)
    initial_weights.check_model(model, spec_fields)
    with show_progress(progress):
        dataset = _load(data, initial_weights, stored, given)
    model = model_of_run(stored, model, dataset) if stored else initial_weights.resolve_model(model, dataset)
    spec = spec_for_data(model, dataset, **spec_fields)
    named_recipe = _base_recipe(spec, recipe, stored)
    recipe = named_recipe.replace(**recipe_fields)
    compute = compute_of_run(stored, engine).replace(**compute_fields)
    defaults = vars(PRESETS.get(spec.preset, ResNetSpec())) | vars(named_recipe) | vars(Compute())
    chosen = vars(spec) | vars(recipe) | vars(compute)
    changes = {name: chosen[name] for name in fields if chosen[name] != defaults[name]}

    path = group.from_first(lambda: _new_path(spec, dataset) if run is None else Path(run))
    folder = RunFolder(path) if group.is_first else UnwrittenRunFolder(path)
    recipe, compute = resolve_shards(group, recipe, compute, stored)
    with show_progress(progress):
        add_larger_images(dataset, recipe)
    normalization = initial_weights.normalization_for(dataset)
    training, validation = split_validation(dataset, recipe)
    check_patience(recipe, validation)
    freeze = freeze or (stored.freeze if stored is not None else None)
    if freeze and recipe.body_lr != 1:
        raise ConfigError(f"body_lr must be 1 with freeze, which trains the head alone. Got {recipe.body_lr}.")
    images = ImageTable.from_splits(dataset, training, validation, initial_weights.images)
    task = TrainingTask(spec, compute, recipe, training, normalization, freeze)
    network = task.build(group)
    initial_weights.apply_to(network)
    if evaluate_train is None:
        evaluate_train = stored is not None and stored.evaluate_train
    options = {"evaluate_train": bool(evaluate_train), "init": initial_weights.metadata, "freeze": freeze}
    described = data_config(dataset, normalization, validation, ink)
    config = run_config(network, recipe.seed, described, recipe=recipe, **options)

    check_same_settings(group, config, stop_after_epoch=stop_after_epoch)

    checkpoint = group.from_first(lambda: restore(folder, config, network, dataset, images) if stored else None)
    if checkpoint is None:
        _dry_run(network, task)
    else:
        network.load_state_dict(checkpoint.network)
    if checkpoint is None and group.is_first:
        if before is not None:
            before(network, dataset)
        folder.check_available(resume=resume, overwrite=overwrite)  # again: loading the data may have taken minutes
        folder.create(config, images)
    epochs = _remaining_epochs(recipe, checkpoint, stop_after_epoch)
    if checkpoint and not epochs:
        folder.unlock()
        end = describe_end(folder.path, recipe, checkpoint.records)
        progress.log(f"[{network.engine_title}] nothing was left to do: {end}")
        return Run(folder.path, checkpoint.records, dataset)
    try:
        n_contaminated = images.count_trained(dataset.test)
        resumed = [f"resumes after epoch {checkpoint.epoch}, with the run's own settings"] if checkpoint else []
        remarks = [*resumed, *initial_weights.remarks, *(few_steps(recipe, len(training), spec.preset) if init else [])]
        for line in start_lines(network, dataset, changes, n_contaminated, remarks):
            progress.log(f"[{network.engine_title}] {line}")
        epoch_loop = EpochLoop(network, task)
        loop = FitLoop(epoch_loop, dataset, validation, n_contaminated, folder, progress, bool(evaluate_train))
        if checkpoint:
            loop.restore(checkpoint)
        with show_progress(progress):
            loop.run(epochs[-1])
    except (Exception, KeyboardInterrupt):
        folder.discard()
        raise
    return Run(folder.path, loop.records, dataset, loop.outcome)


def _check_options(run: Any, resume: bool, overwrite: bool, stop_after_epoch: Any) -> None:
    if stop_after_epoch is not None:
        check_int("stop_after_epoch", stop_after_epoch)
    if resume and overwrite:
        raise ConfigError("resume and overwrite must not be given together. Got both.")
    if resume and run is None:
        raise ConfigError("resume must come with run, the folder to resume. Got no run.")


def _check_freeze(freeze: Any, init: Any, stored: RunConfig | None) -> None:
    if freeze not in (None, "backbone"):
        raise ConfigError(f"freeze must be None or 'backbone'. Got {freeze!r}.")
    if freeze and init is None and (stored is None or stored.init is None):
        raise ConfigError("freeze must come with init, the weights to keep. Got no init.")


def _initial_weights(init: Any, stored: RunConfig | None, run: Any) -> InitialWeights:
    """Return the weights of ``init``, or else those of the run to resume, which has trained them since."""
    if init is not None:
        return InitialWeights.load(init)
    return InitialWeights() if stored is None else InitialWeights.of_resumed(stored, RunFolder(run).read_images())


def _load(
    data: str | PathLike[str] | Dataset, weights: InitialWeights, stored: RunConfig | None, given: dict[str, Any]
) -> Dataset:
    """Return the data as the options say that are given, and otherwise as the run to resume has it, or the weights'."""
    if isinstance(data, Dataset):
        return data
    options: dict[str, Any] = {"fit": weights.fit, "value_range": weights.value_range}
    if stored is not None:
        options = {name: value for name, value in stored.data.load_arguments().items() if name != "source"}
    elif weights.spec is not None and is_converted(data):
        channels = weights.spec.in_channels
        options |= {"image_size": weights.spec.size, "channels": channels if channels in (1, 3) else None}
    return load_data(data, **options | {name: value for name, value in given.items() if value is not None})


def _base_recipe(spec: ResNetSpec, recipe: str | Recipe | None, stored: RunConfig | None) -> Recipe:
    """Return the given recipe, or else that of the run to resume, or the preset's default."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe is None and stored is not None and stored.recipe is not None:
        return stored.recipe
    return get_recipe(spec.preset, recipe or "default")


def _remaining_epochs(recipe: Recipe, checkpoint: Checkpoint | None, stop_after_epoch: int | None) -> range:
    if checkpoint and has_stopped(recipe.patience, checkpoint.records):
        return range(0)
    n_finished = checkpoint.epoch if checkpoint else 0
    return range(n_finished + 1, min(recipe.epochs, stop_after_epoch or recipe.epochs) + 1)


def _dry_run(network: Network, task: TrainingTask) -> None:
    """Run a batch forward once, so that too small images or a too small last batch fail before anything is written."""
    count, batch_size = len(task.split), task.recipe.batch_size
    last_batch = count - batch_size * (count_batches(count, batch_size) - 1)
    shards = task.recipe.shards or 1
    n_images = min(2, max(1, min(batch_size, last_batch) // shards))
    images = task.split.pixels(range(n_images))
    try:
        network.check_batch(task.normalization.apply(images, network.dtype))
    except GlassnetError as error:
        if shards == 1 or "per channel" not in str(error):
            raise
        raise ConfigError(
            f"shards must leave each part of a batch at least 2 values per channel for BatchNorm. Got {shards} shards "
            f"of a batch of {pluralize(min(batch_size, last_batch), 'image')}. Use fewer shards, or another batch_size."
        ) from error


def spec_for_data(model: str | ResNetSpec | None, data: Dataset, **fields: Any) -> ResNetSpec:
    """Return a preset with the data's channels, size and classes, or the given spec, with changed ``fields``.

    :raises ConfigError: if a preset or field is unknown, or the spec disagrees with the data; names the field.
    """
    measured = {"in_channels": data.channels, "image_size": data.image_size, "classes": len(data.classes)}
    if isinstance(model, ResNetSpec):
        spec = model.replace(**fields)
    else:
        name = default_preset(data.image_size) if model is None else model
        spec = get_spec(name, **{**measured, **fields})
    own = {"in_channels": spec.in_channels, "image_size": spec.size, "classes": spec.classes}
    for name, value in measured.items():
        if own[name] != value:
            raise ConfigError(f"{name} of the model must be {value}, as in the data. Got {own[name]}.")
    return spec


def split_fields(fields: dict[str, Any], *kinds: type[Settings]) -> list[dict[str, Any]]:
    """Return the keywords that are fields of each kind of settings.

    :raises ConfigError: if a keyword is a field of none.
    """
    known = [name for kind in kinds for name in kind.types()]
    for name in fields:
        if name not in known:
            raise choice_error("A setting", known, name)
    return [{name: value for name, value in fields.items() if name in kind.types()} for kind in kinds]


def _new_path(spec: ResNetSpec, data: Dataset) -> Path:
    """Return the first of runs/MODEL-DATA, runs/MODEL-DATA-2, ... that does not exist."""
    name = f"{spec.preset}-{Path(data.source['source']).name}"
    candidates = (Path("runs", name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in candidates if not path.exists())
