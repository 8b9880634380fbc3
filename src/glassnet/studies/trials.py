"""Many training runs of one study: one run folder for each, named by its settings.

Finished runs are reused and interrupted ones are resumed, to the same bits. So a study may be stopped at any moment,
started again and enlarged. A run in the folder that has other settings is an error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset
from glassnet.engines import Network
from glassnet.errors import ConfigError, DivergedError, GlassnetError
from glassnet.formats import format_duration, pluralize
from glassnet.layer_graph import parameter_count
from glassnet.nn.checks import check_int
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.studies.process_pool import FractionProgress, run_in_processes
from glassnet.training import RunFolder, train
from glassnet.training.early_stopping import has_stopped
from glassnet.training.log_line import describe_epoch
from glassnet.training.run_files import Record


@dataclass(frozen=True)
class Trial:
    """One run to train: the name of its folder, its network, and its recipe with the seed."""

    name: str
    spec: ResNetSpec
    recipe: Recipe

    @property
    def cost(self) -> int:
        """Estimated training time, in a unit of its own: parameters × epochs."""
        return parameter_count(self.spec) * self.recipe.epochs


@dataclass(frozen=True)
class TrialResult:
    """Result of a trial: its folder, one record for each finished epoch, and the error if it diverged."""

    trial: Trial
    path: Path
    history: list[Record]
    failure: str = ""
    test_name: str = "test"

    @property
    def last(self) -> Record | None:
        """Record of the last epoch; None if the run diverged."""
        return None if self.failure else self.history[-1]

    def __str__(self) -> str:
        if self.last is None:
            return f"{self.trial.name}: diverged. {self.failure}"
        without = "test" if "validation_accuracy" in self.last else ""
        return f"{self.trial.name}: {describe_epoch(self.last, self.trial.recipe, without, self.test_name)}"


@dataclass(frozen=True)
class TrialRunner:
    """The settings that all trials of a study share: the data, the folder and the engine."""

    data: Dataset
    folder: Path
    engine: str = "numpy"
    threads: int | None = None
    evaluate_train: bool = False

    def fraction_done(self, trial: Trial) -> float:
        """Return the fraction of a trial's epochs that its run folder has."""
        folder = RunFolder(self.folder / trial.name)
        if not folder.has_checkpoint:
            return 0.0
        records = folder.read_records()
        return 1.0 if has_stopped(trial.recipe.patience, records) else min(1.0, len(records) / trial.recipe.epochs)

    def run(self, trial: Trial, progress: Progress) -> TrialResult:
        """Train a trial to its end, from its last checkpoint. A run that diverges has a result, too."""
        path = self.folder / trial.name
        try:
            return TrialResult(trial, path, self._train(trial, progress).history, test_name=self.data.test_name)
        except DivergedError as error:
            return TrialResult(trial, path, RunFolder(path).read_records(), str(error))

    def check(self, trial: Trial) -> None:
        """Prepare a run up to its first epoch, without writing anything.

        :raises ConfigError: if the trial cannot be trained; the error names it.
        """
        try:
            self._train(trial, Progress(), before=_pass_check)
        except _CheckPassed:
            return
        except GlassnetError as error:
            raise ConfigError(f"{trial.name} cannot be trained. {error}") from error

    def _train(self, trial: Trial, progress: Progress, **options: Any) -> Any:
        return train(
            trial.spec,
            self.data,
            self.engine,
            run=self.folder / trial.name,
            recipe=trial.recipe,
            threads=self.threads,
            evaluate_train=self.evaluate_train,
            progress=progress,
            resume=True,
            **options,
        )


class _CheckPassed(Exception):  # noqa: N818  # no error: it ends a run that could begin
    pass


def _pass_check(network: Network, data: Dataset) -> None:
    raise _CheckPassed


class _StudyProgress:
    """Progress of all trials together, in percent of their cost, and one log line for each that is finished."""

    def __init__(self, progress: Progress, trials: Sequence[Trial], fractions: dict[str, float]) -> None:
        self.progress, self.started = progress, perf_counter()
        self.costs = {trial.name: trial.cost for trial in trials}
        self.fractions, self.results = fractions, dict[str, TrialResult]()
        self.percent = self._percent()

    def _percent(self) -> int:
        done = sum(cost * self.fractions[name] for name, cost in self.costs.items())
        return int(100 * done / sum(self.costs.values()))

    def start(self, folder: Path) -> None:
        runs, n_existing = pluralize(len(self.costs), "run"), sum(map(bool, self.fractions.values()))
        self.progress.log(f"{runs} in {folder}" + (f", {n_existing} of them there already" if n_existing else ""))
        self.progress.start(runs, 100, self.percent, "percent")

    def update(self, trial: Trial, fraction: float) -> None:
        """Set the fraction of a trial that is done; it never falls."""
        self.fractions[trial.name] = max(self.fractions[trial.name], fraction)
        gain = self._percent() - self.percent
        if gain:
            self.percent += gain
            self.progress.advance(gain)

    def add(self, result: TrialResult) -> None:
        """Keep and log the result of a trial."""
        self.results[result.trial.name] = result
        self.update(result.trial, 1.0)
        count = len(self.costs)
        self.progress.log(f"[{len(self.results):{len(str(count))}}/{count}] {result}")

    def finish(self) -> None:
        self.progress.finish()
        seconds = format_duration(perf_counter() - self.started)
        self.progress.log(f"{len(self.results)} of {pluralize(len(self.costs), 'run')} finished, after {seconds}")


def run_trials(
    trials: Sequence[Trial],
    data: Dataset,
    folder: Path | str,
    *,
    engine: str = "numpy",
    workers: int = 1,
    evaluate_train: bool = False,
    progress: Progress | None = None,
) -> list[TrialResult]:
    """Train every trial that is not finished yet, and return the results in the order of ``trials``.

    Nothing is trained before all new trials are known to be possible. Trials that have a checkpoint come first, so
    that a run with other settings is an error at once.

    :param workers: number of processes that train at the same time. With more than one, the calling script needs
        ``if __name__ == "__main__":``, as with every use of processes.
    :param progress: receives the progress of all trials together; None is silent.
    :raises ConfigError: if two trials have one name, or a trial cannot be trained.
    :raises RunError: if a run in the folder has other settings.
    """
    names = [trial.name for trial in trials]
    if len(set(names)) < len(names):
        raise ConfigError(f"The names of trials must be unique. Got {max(names, key=names.count)!r} twice.")
    check_int("workers", workers)
    runner = TrialRunner(data, Path(folder), engine, 1 if workers > 1 else None, evaluate_train)
    fractions = {trial.name: runner.fraction_done(trial) for trial in trials}
    for trial in _first_of_each_setting(trial for trial in trials if fractions[trial.name] == 0):
        runner.check(trial)
    finished = [trial for trial in trials if fractions[trial.name] == 1]
    # Then the most expensive ones first, so that no process is left alone with one at the end.
    unfinished = sorted(
        (trial for trial in trials if fractions[trial.name] < 1),
        key=lambda trial: (fractions[trial.name] == 0, -trial.cost),
    )
    study = _StudyProgress(progress or Progress(), trials, fractions)
    study.start(runner.folder)
    try:
        for trial in [*finished, *(unfinished if workers == 1 else [])]:
            study.add(runner.run(trial, FractionProgress(partial(study.update, trial))))
        if workers > 1 and unfinished:
            run_in_processes(runner.run, unfinished, min(workers, len(unfinished)), study.update, study.add)
    finally:
        study.finish()
    return [study.results[name] for name in names]


def _first_of_each_setting(trials: Iterable[Trial]) -> list[Trial]:
    """Return the first of the trials that differ only in the seed."""
    first: dict[tuple[ResNetSpec, Recipe], Trial] = {}
    for trial in trials:
        first.setdefault((trial.spec, trial.recipe.replace(seed=0)), trial)
    return list(first.values())
