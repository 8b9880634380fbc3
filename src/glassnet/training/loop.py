"""The training loop, one for every engine."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from glassnet.architecture import ResNetSpec, suited_preset
from glassnet.architecture import spec as preset
from glassnet.data import Dataset, Split, draw, epoch_batches, load_data, random_stream, stratified_split
from glassnet.engines import Batch, Network, Trainer, build
from glassnet.errors import ConfigError, RunError, near
from glassnet.recipe import Recipe
from glassnet.recipe import recipe as named_recipe
from glassnet.training.progress import Progress, TerminalProgress
from glassnet.training.run_folder import FORMAT, Checkpoint, Record, RunFolder
from glassnet.training.schedule import learning_rates

# What may differ when a run goes on: where and how it is computed, not what.
_FREE_ON_RESUME = ("engine", "device", "precision", "threads", "versions")


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
    resume: bool = False,
    overwrite: bool = False,
    stop_after: int | None = None,
    evaluate_train: bool = False,
    image_size: int | None = None,
    samples: int | None = None,
    max_bad: float = 0.01,
    progress: Progress | None = None,
    before: Callable[[Network, Dataset], None] | None = None,
    **fields: Any,
) -> Run:
    """Train a model on data and leave a run folder.

    ``model`` is a preset's name, which takes channels, size and classes from the data, or a spec, which must agree
    with it; None takes the preset that suits the pictures' size. ``data`` is a Dataset, or what ``load_data`` takes,
    with ``image_size``, ``samples`` and ``max_bad``. ``recipe`` is a Recipe or the name of one of the preset's;
    further keywords are fields of Recipe or ResNetSpec. ``run`` is the folder, by default a new one in ``runs/``.
    ``stop_after`` ends early, after so many epochs of the whole schedule; ``resume`` continues. ``evaluate_train``
    also measures the training split in evaluation mode after each epoch. ``before`` is called with the network and
    the data before the first epoch; what it raises ends the training before anything is written. ``progress`` shows
    what happens, by default on stderr.

    :raises ConfigError: an unknown model, recipe or field, or values that are not allowed.
    :raises DataError: data that cannot be used.
    :raises RunError: a folder in use, a resume with other settings, or a loss that is not finite; the folder then
        holds the last good epoch.
    """
    if stop_after is not None and stop_after < 1:
        raise ConfigError(f"stop_after must be at least 1. Got {stop_after}.")
    if resume and overwrite:
        raise ConfigError("resume and overwrite exclude each other.")
    if resume and run is None:
        raise ConfigError("resume needs run, the folder of the run that is to go on.")
    if run is not None:
        RunFolder(run).check_is_free(resume=resume, overwrite=overwrite)
    if not isinstance(data, Dataset):
        data = load_data(data, image_size=image_size, samples=samples, max_bad=max_bad)
    spec_fields, recipe_fields = _sorted_fields(fields)
    spec = fit_spec(model, data, **spec_fields)
    if isinstance(recipe, str):
        recipe = named_recipe(spec.preset, recipe)
    recipe = recipe.replace(**recipe_fields)
    folder = RunFolder(_new_path(spec, data) if run is None else run)
    network = build(spec, engine, recipe.seed, dtype, device, precision, compile)
    config = _config(network, recipe, data, evaluate_train)
    loop = _Loop(network, recipe, data, folder, evaluate_train, progress or TerminalProgress())
    if resume and folder.is_committed:
        _check_same(folder.read_config(), config, folder.path)
        loop.restore(folder.restore())
        if loop.epoch < recipe.epochs:
            folder.write_config(config)
    else:
        _check_fit(network, data, loop.count % recipe.batch_size or recipe.batch_size)
        if before is not None:
            before(network, data)
        folder.clear()
        folder.create(config)
    loop.run(min(recipe.epochs, stop_after or recipe.epochs))
    return Run(folder.path, loop.records)


def fit_spec(model: str | ResNetSpec | None, data: Dataset, **fields: Any) -> ResNetSpec:
    """A preset with the data's channels, size and classes, or the given spec where it agrees with them; then changed.

    :raises ConfigError: an unknown preset or field, or a spec that disagrees with the data; names the field.
    """
    measured = {"in_channels": data.channels, "image_size": data.image_size, "classes": len(data.classes)}
    if model is None or isinstance(model, str):
        return preset(model or suited_preset(data.image_size), **{**measured, **fields})
    spec = model.replace(**fields)
    own = {"in_channels": spec.in_channels, "image_size": spec.size, "classes": spec.classes}
    for name, value in measured.items():
        if own[name] != value:
            raise ConfigError(f"The {name} of the model is {own[name]}, of the data {value}; they must be equal.")
    return spec


def _sorted_fields(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords that are ResNetSpec's, and those that are Recipe's."""
    of_spec, of_recipe = ([field.name for field in dataclasses.fields(kind)] for kind in (ResNetSpec, Recipe))
    for name in fields:
        if name not in of_spec + of_recipe:
            known = near(name, of_spec + of_recipe)
            raise ConfigError(f"Neither a model nor a recipe has a field {name!r}.{known}")
    return (
        {name: value for name, value in fields.items() if name in of_spec},
        {name: value for name, value in fields.items() if name in of_recipe},
    )


def _new_path(spec: ResNetSpec, data: Dataset) -> Path:
    """The first of runs/MODEL-DATA, runs/MODEL-DATA-2, ... that does not exist."""
    name = f"{spec.preset}-{Path(data.source['source']).name}"
    candidates = (Path("runs", name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in candidates if not path.exists())


def _config(network: Network, recipe: Recipe, data: Dataset, evaluate_train: bool) -> dict[str, Any]:
    normalization = data.normalization
    described = {
        "fingerprint": data.fingerprint,
        "classes": data.classes,
        "scale": normalization.scale,
        "mean": list(normalization.mean),
        "std": list(normalization.std),
        "train": len(data.train),
        "test": len(data.test),
        "skipped": data.skipped,
    }
    return {
        "format": FORMAT,
        "engine": network.engine,
        "dtype": network.dtype.name,
        "device": network.device,
        "precision": network.precision,
        "threads": 1,
        "seed": recipe.seed,
        "spec": dataclasses.asdict(network.spec),
        "recipe": dataclasses.asdict(recipe),
        "evaluate_train": evaluate_train,
        "data": {**data.source, **described},
        "versions": {
            "glassnet": version("glassnet"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "platform": platform.platform(),
        },
    }


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, prefix: str = "") -> None:
    """Refuse to go on with other settings; tuples and lists are the same in JSON."""
    for name in dict.fromkeys([*old, *new]):
        if not prefix and name in _FREE_ON_RESUME:
            continue
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            _check_same(before, now, path, f"{prefix}{name}.")
        elif before != (list(now) if isinstance(now, tuple) else now):
            raise RunError(f"{path} was begun with {prefix}{name} {before!r}. It cannot go on with {now!r}.")


def _check_fit(network: Network, data: Dataset, smallest: int) -> None:
    """Refuse pictures, or a last batch, too small for the network before anything is written; they train nothing."""
    few = data.train.take(np.arange(min(smallest, 2)))
    network.gradients(data.normalization.apply(few.images, network.dtype), few.labels)


class _Loop:
    """One training: where it stands, and how it takes the next epoch."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        data: Dataset,
        folder: RunFolder,
        evaluate_train: bool,
        progress: Progress,
    ) -> None:
        self.network, self.recipe, self.folder = network, recipe, folder
        self.evaluate_train, self.progress = evaluate_train, progress
        train_split, validation_split = _held_out(data.train, recipe, data.classes)
        self.train = network.place(train_split, data.normalization)
        self.validation = validation_split and network.place(validation_split, data.normalization)
        self.test = network.place(data.test, data.normalization)
        self.count = len(train_split)
        self.steps = math.ceil(self.count / recipe.batch_size)
        self.rates = learning_rates(recipe, recipe.epochs * self.steps)
        self.trainer: Trainer = network.trainer(recipe)
        self.epoch = 0
        self.best_epoch: int | None = None
        self.records: list[Record] = []

    def restore(self, checkpoint: Checkpoint) -> None:
        self.epoch, self.best_epoch, self.records = checkpoint.epoch, checkpoint.best_epoch, checkpoint.records
        self.network.load_state_dict(checkpoint.network)
        self.trainer.load_state(checkpoint.optimizer)

    def run(self, epochs: int) -> None:
        if self.epoch >= epochs:
            return
        start, seconds = perf_counter(), None
        self.progress.begin(self.network.engine_title, self.recipe.epochs, self.epoch, self.steps)
        try:
            while self.epoch < epochs:
                self._take_epoch()
                self.progress.epoch(self.records[-1])
            seconds = perf_counter() - start
        finally:
            self.progress.end(seconds)

    def _take_epoch(self) -> None:
        start = perf_counter()
        recipe, epoch = self.recipe, self.epoch + 1
        augmentation = random_stream(recipe.seed, "augment", epoch)
        self.network.seed_dropout(random_stream(recipe.seed, "dropout", epoch))
        rates = self.rates[self.epoch * self.steps : epoch * self.steps]
        batches = epoch_batches(self.count, recipe.batch_size, random_stream(recipe.seed, "shuffle", epoch))
        for rate, indices in zip(rates, batches, strict=True):
            changes = draw(recipe.augment, len(indices), augmentation)
            self.trainer.step(Batch(self.train, indices, changes), lr=float(rate))
            self.progress.step()
        record = self._measured(epoch, float(rates[-1]))
        record["seconds"] = perf_counter() - start
        if self.validation is not None and self._is_best(record):
            self.best_epoch = epoch
        records = [*self.records, record]
        state = self.network.state_dict()
        self.folder.commit(Checkpoint(epoch, self.best_epoch, state, self.trainer.state(), records))
        self.epoch, self.records = epoch, records

    def _measured(self, epoch: int, lr: float) -> Record:
        totals = self.trainer.totals()
        test = self.network.evaluate(self.test)
        record = {
            "epoch": epoch,
            "loss": totals.loss,
            "train_accuracy": totals.accuracy,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "lr": lr,
            "gradient_norms": totals.gradient_norms,
        }
        if self.validation is not None:
            validation = self.network.evaluate(self.validation)
            record |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        if self.evaluate_train:
            evaluated = self.network.evaluate(self.train)
            record |= {"train_evaluated_loss": evaluated.loss, "train_evaluated_accuracy": evaluated.accuracy}
        self._check_finite(record)
        return record

    def _check_finite(self, record: Record) -> None:
        numbers = {name.replace("_", " "): value for name, value in record.items() if isinstance(value, float)}
        numbers |= {f"gradient norm of {key}": norm for key, norm in record["gradient_norms"].items()}
        for name, value in numbers.items():
            if not math.isfinite(value):
                kept = f"{self.folder.path} keeps the state after epoch {self.epoch}"
                raise RunError(
                    f"The {name} became {value} in epoch {record['epoch']} at a learning rate of {record['lr']:g}; it "
                    f"must stay finite. {kept if self.epoch else 'Nothing was kept'}. Try a lower lr, or clip_gradient."
                )

    def _is_best(self, record: Record) -> bool:
        """The highest validation accuracy, then the lowest validation loss, then the earliest epoch."""
        if self.best_epoch is None:
            return True
        best = self.records[self.best_epoch - 1]
        return (record["validation_accuracy"], -record["validation_loss"]) > (
            best["validation_accuracy"],
            -best["validation_loss"],
        )


def _held_out(split: Split, recipe: Recipe, classes: list[str]) -> tuple[Split, Split | None]:
    """The training split without, and with only, the validation share."""
    if not recipe.validation:
        return split, None
    rest, share = stratified_split(split.labels, recipe.validation, recipe.seed, classes)
    return split.take(rest), split.take(share)
