"""Many trainings of one study: each is a run folder under the study's, named by what it is.

What is there already is not run again and what was interrupted goes on, to the same bits; a run there that was begun
with other settings is refused. So a study may be stopped at any instant, begun again, and made larger.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glassnet.architecture import ResNetSpec, parameter_count
from glassnet.data import Dataset
from glassnet.engines import Network
from glassnet.errors import ConfigError, DivergedError, GlassnetError
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.studies.process_pool import train_in_processes
from glassnet.studies.study_progress import TerminalWatch, Watch
from glassnet.training import RunFolder, train
from glassnet.training.run_folder import Record


@dataclass(frozen=True)
class Trial:
    """One training: its name, which is that of its folder, its network, and its recipe with the seed."""

    name: str
    spec: ResNetSpec
    recipe: Recipe

    @property
    def work(self) -> int:
        """About how long it takes, in a unit of its own: the deeper, the wider and the more epochs, the longer."""
        return parameter_count(self.spec) * self.recipe.epochs


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: its folder, a record for each finished epoch, and why it diverged, if it did."""

    trial: Trial
    path: Path
    history: list[Record]
    failure: str = ""

    @property
    def last(self) -> Record | None:
        """The last epoch's record; None of a training that diverged on the way."""
        return None if self.failure else self.history[-1]


@dataclass(frozen=True)
class Workshop:
    """Where trials are trained: on which data, into which folder, and how it is computed."""

    data: Dataset
    folder: Path
    engine: str = "numpy"
    threads: int | None = None
    evaluate_train: bool = False

    def path(self, trial: Trial) -> Path:
        return self.folder / trial.name

    def train(self, trial: Trial, progress: Progress) -> Outcome:
        """Trains a trial to its end, from wherever it stands; one that diverges is an outcome, too."""
        try:
            return Outcome(trial, self.path(trial), self._train(trial, progress).history)
        except DivergedError as error:
            return Outcome(trial, self.path(trial), RunFolder(self.path(trial)).read_records(), str(error))

    def check(self, trial: Trial) -> None:
        """Takes a training to where its first epoch would begin; nothing is written.

        :raises ConfigError: names a trial that cannot be, and why.
        """
        try:
            self._train(trial, Progress(), before=_stop)
        except _PossibleError:
            return
        except GlassnetError as error:
            raise ConfigError(f"{trial.name} cannot be trained. {error}") from error

    def _train(self, trial: Trial, progress: Progress, **more: Any) -> Any:
        return train(
            trial.spec,
            self.data,
            self.engine,
            run=self.path(trial),
            recipe=trial.recipe,
            threads=self.threads,
            evaluate_train=self.evaluate_train,
            progress=progress,
            resume=True,
            **more,
        )


class _Epochs(Progress):
    """Tells of each epoch that is done, those of an earlier start included."""

    def __init__(self, trial: Trial, count: Callable[[int], None]) -> None:
        self.trial, self.count = trial, count

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self.count(done * self.trial.recipe.epochs // total)

    def log(self, line: str) -> None:
        if "] epoch " in line:
            self.count(1)


class _PossibleError(Exception):
    """Ends a training that could begin."""


def _stop(network: Network, data: Dataset) -> None:
    raise _PossibleError


def train_all(
    trials: Sequence[Trial],
    data: Dataset,
    folder: Path | str,
    *,
    engine: str = "numpy",
    workers: int = 1,
    evaluate_train: bool = False,
    watch: Watch | None = None,
) -> list[Outcome]:
    """Trains every trial that is not finished yet, and returns what became of each, in their order.

    Nothing is trained before all new trials are known to be possible. Trials that were begun before come first, so
    that settings other than theirs are refused at once. ``workers`` processes train side by side; with more than one,
    a script that calls this needs ``if __name__ == "__main__":`` as all that starts processes. ``watch`` shows what
    happens, by default on stderr.

    :raises ConfigError: two trials of one name, no worker, or a trial that cannot be trained.
    :raises RunError: a run in the folder that was begun with other settings.
    """
    names = [trial.name for trial in trials]
    if len(set(names)) < len(names):
        raise ConfigError(f"Each trial needs a name of its own. Got {max(names, key=names.count)!r} twice.")
    if workers < 1:
        raise ConfigError(f"workers must be at least 1. Got {workers}.")
    watch = watch or TerminalWatch()
    workshop = Workshop(data, Path(folder), engine, 1 if workers > 1 else None, evaluate_train)
    begun = [trial for trial in trials if RunFolder(workshop.path(trial)).has_checkpoint]
    finished = [trial for trial in begun if RunFolder(workshop.path(trial)).is_finished]
    for trial in _of_one_seed(trial for trial in trials if trial not in begun):
        workshop.check(trial)
    # Then the longest first, so that no process is left alone with one at the end.
    rest = sorted(
        (trial for trial in trials if trial not in finished), key=lambda trial: (trial not in begun, -trial.work)
    )
    outcomes: dict[str, Outcome] = {}

    def finish(outcome: Outcome) -> None:
        outcomes[outcome.trial.name] = outcome
        watch.finish(outcome)

    watch.begin(workshop.folder, trials, len(begun))
    try:
        for trial in [*finished, *(rest if workers == 1 else [])]:
            finish(workshop.train(trial, _Epochs(trial, partial(watch.advance, trial))))
        if workers > 1 and rest:
            train_in_processes(workshop, rest, min(workers, len(rest)), watch.advance, finish)
    finally:
        watch.end()
    return [outcomes[name] for name in names]


def _of_one_seed(trials: Iterable[Trial]) -> list[Trial]:
    """The first of the trials that differ in the seed alone."""
    kinds: dict[tuple[ResNetSpec, Recipe], Trial] = {}
    for trial in trials:
        kinds.setdefault((trial.spec, trial.recipe.replace(seed=0)), trial)
    return list(kinds.values())
