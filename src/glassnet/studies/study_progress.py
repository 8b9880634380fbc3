"""What a person sees of many trainings: a line for each that is over, and a bar over all where there is a terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from glassnet.progress import format_duration

if TYPE_CHECKING:
    from glassnet.studies.trials import Outcome, Trial


class Watch:
    """Shows nothing. ``train_all`` calls these; whoever wants to show something overrides them."""

    def begin(self, folder: Path, trials: "Sequence[Trial]", there: int) -> None:
        """The trials of a folder, of which some are there already, finished or begun."""

    def advance(self, trial: "Trial", epochs: int) -> None:
        """So many more epochs of a trial are done."""

    def finish(self, outcome: "Outcome") -> None:
        """A trial is over."""

    def end(self) -> None:
        """All are over, or were stopped."""


class TerminalWatch(Watch):
    """Shows it on stderr."""

    def begin(self, folder: Path, trials: "Sequence[Trial]", there: int) -> None:
        self.count, self.over, self.start = len(trials), 0, perf_counter()
        self.work = {trial.name: trial.work for trial in trials}
        self.done = dict.fromkeys(self.work, 0.0)
        self.bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=Console(stderr=True, highlight=False),
                transient=True,
                refresh_per_second=5,
            )
            self.bar.start()
            self.task = self.bar.add_task(self._description, total=sum(self.work.values()))
        present = f", {there} of them there already" if there else ""
        self._print(f"{self.count} runs in {folder}{present}")

    def advance(self, trial: "Trial", epochs: int) -> None:
        self._reach(trial, self.done[trial.name] + self.work[trial.name] * epochs / trial.recipe.epochs)

    def finish(self, outcome: "Outcome") -> None:
        self.over += 1
        self._reach(outcome.trial, self.work[outcome.trial.name])
        place = f"[{self.over:{len(str(self.count))}}/{self.count}] {outcome.trial.name}:"
        if outcome.last is None:
            self._print(f"{place} diverged. {outcome.failure}")
            return
        held_out = "validation_accuracy" if "validation_accuracy" in outcome.last else "test_accuracy"
        told = {name: outcome.last[name] for name in ("loss", "train_accuracy", held_out)}
        self._print(f"{place} " + " ".join(f"{name}={value:.4f}" for name, value in told.items()))

    def end(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        self._print(
            f"{self.over} of {self.count} runs are finished, after {format_duration(perf_counter() - self.start)}"
        )

    @property
    def _description(self) -> str:
        return f"{self.over} of {self.count} runs"

    def _reach(self, trial: "Trial", work: float) -> None:
        self.done[trial.name] = work
        if self.bar is not None:
            self.bar.update(self.task, completed=sum(self.done.values()), description=self._description)

    def _print(self, line: str) -> None:
        if self.bar is not None:
            self.bar.console.print(line, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)
