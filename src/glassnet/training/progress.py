"""What a person sees of a training: one line per epoch, and a bar where there is a terminal."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

STEPS_TO_ESTIMATE = 20  # after so many the expected time is told


class Progress:
    """Shows nothing. The loop calls these; whoever wants to show something overrides them."""

    def note(self, line: str) -> None:
        """What is good to know before the training begins."""

    def begin(self, title: str, epochs: int, done: int, steps: int) -> None:
        """``done`` of ``epochs`` epochs are behind us; each takes ``steps`` steps."""

    def step(self) -> None:
        """One step of the current epoch was taken."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended and is safely kept."""

    def end(self, seconds: float | None = None) -> None:
        """The training is over after so many seconds, or was stopped (None)."""


class TerminalProgress(Progress):
    """One line per epoch on stderr, and below it, on a terminal, a bar for the epoch that runs."""

    bar: Any = None

    def note(self, line: str) -> None:
        self._print(line)

    def begin(self, title: str, epochs: int, done: int, steps: int) -> None:
        self.title, self.epochs, self.steps = title, epochs, steps
        self.taken, self.left, self.start = 0, (epochs - done) * steps, perf_counter()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self.bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps,"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=Console(stderr=True, highlight=False),
                transient=True,
                refresh_per_second=5,
            )
            self.bar.start()
            self.task = self.bar.add_task(
                f"[{title}]".replace("[", r"\["), total=epochs * steps, completed=done * steps
            )

    def step(self) -> None:
        self.taken += 1
        if self.taken == STEPS_TO_ESTIMATE and self.left > STEPS_TO_ESTIMATE:
            seconds = (perf_counter() - self.start) / self.taken * self.left
            self._print(f"[{self.title}] about {_duration(seconds)} for {self.left:,} steps, evaluation apart")
        if self.bar is not None:
            self.bar.advance(self.task)

    def epoch(self, record: dict[str, Any]) -> None:
        width = len(str(self.epochs))
        line = (
            f"[{self.title}] epoch {record['epoch']:0{width}}/{self.epochs} loss={record['loss']:.4f} "
            f"train_acc={record['train_accuracy']:.4f} test_acc={record['test_accuracy']:.4f}"
        )
        if "validation_accuracy" in record:
            line += f" val_acc={record['validation_accuracy']:.4f}"
        self._print(line)

    def end(self, seconds: float | None = None) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        if seconds is not None:
            self._print(f"[{self.title}] {_duration(seconds)} in all")

    def _print(self, line: str) -> None:
        if self.bar is not None:
            self.bar.console.print(line, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
