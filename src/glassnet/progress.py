"""Progress of everything that takes time: log lines, and a bar for the running task."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

ETA_AFTER_STEPS = 20


class Progress:
    """Silent base class. Code that takes time calls these methods; a subclass displays them."""

    def log(self, line: str) -> None:
        """Write one line."""

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        """Begin a task of ``total`` units, ``done`` of which were done before."""

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more units of the task as done."""

    def finish(self) -> None:
        """End the task, whether it is complete or not."""


class TerminalProgress(Progress):
    """Log lines on stderr and, on a terminal, a bar; an estimate of the remaining time is logged after 20 units."""

    def __init__(self) -> None:
        self.bar: Any = None

    def log(self, line: str) -> None:
        if self.bar is not None:
            self.bar.console.print(line, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self.title, self.unit = title, unit
        self.n_done, self.n_left, self.started = 0, total - done, perf_counter()
        if sys.stderr.isatty():
            self.bar = _bar(unit)
            self.bar.start()
            self.task = self.bar.add_task(f"[{title}]".replace("[", r"\["), total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        is_due = self.n_done < ETA_AFTER_STEPS <= self.n_done + count
        self.n_done += count
        if is_due and self.n_left > self.n_done:
            seconds = (perf_counter() - self.started) / self.n_done * self.n_left
            self.log(f"[{self.title}] about {format_duration(seconds)} for {self.n_left:,} {self.unit}")
        if self.bar is not None:
            self.bar.advance(self.task, count)

    def finish(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _bar(unit: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit},"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True, highlight=False),
        transient=True,
        refresh_per_second=5,
    )


def format_duration(seconds: float) -> str:
    """Return ``0.8 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
