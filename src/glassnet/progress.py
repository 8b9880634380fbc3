"""Progress of everything that takes time: log lines, and bars for the running tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from glassnet.formats import format_duration

ETA_AFTER_STEPS = 20
MIN_ETA = 5.0  # seconds: nobody waits for less
BAR_AFTER = 0.5  # seconds: the bar of a part that takes less would only flicker
REFRESH_AFTER = 0.1  # seconds: to update the bar for each of thousands of images a second would slow them down


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

    @contextmanager
    def part(self, title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """Enclose a part of a task, or a task alone, of ``total`` units: yield the function that counts them.

        A total of None is not known; the rate is shown then.
        """
        yield lambda count: None


_current: ContextVar[Progress] = ContextVar("progress", default=Progress())  # noqa: B039  # it has no state


def current_progress() -> Progress:
    """Return the progress that ``show_progress`` set; a silent one by default."""
    return _current.get()


@contextmanager
def show_progress(progress: Progress) -> Iterator[None]:
    """Show the parts that the enclosed code tracks, such as decoding and evaluations, on this progress."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)


def track(title: str, total: int | None, unit: str = "images") -> AbstractContextManager[Callable[[int], None]]:
    """Enclose work of ``total`` units on the current progress; gives the function that counts units as done.

    A total of None is not known; the rate is shown then.
    """
    return _current.get().part(title, total, unit)


class TerminalProgress(Progress):
    """Log lines on stderr and, on a terminal, bars; a long task's remaining time is logged after 20 units."""

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
            self.bar = _start_bar()
            self.task = _add_task(self.bar, title, total, done, unit)

    def advance(self, count: int = 1) -> None:
        is_due = self.n_done < ETA_AFTER_STEPS <= self.n_done + count
        self.n_done += count
        if is_due and self.n_left > self.n_done:
            seconds = (perf_counter() - self.started) / self.n_done * self.n_left
            if seconds >= MIN_ETA:
                self.log(f"[{self.title}] about {format_duration(seconds)} for {self.n_left:,} {self.unit}")
        if self.bar is not None:
            self.bar.advance(self.task, count)

    def finish(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    @contextmanager
    def part(self, title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """Enclose a part of a task. On a terminal it has a bar, below that of the task, once it takes a while."""
        started, n_done, due = perf_counter(), 0, BAR_AFTER
        bar, task = self.bar, None

        def advance(count: int) -> None:
            nonlocal bar, task, n_done, due
            n_done += count
            if (seconds := perf_counter() - started) <= due or not sys.stderr.isatty():
                return
            due = seconds + REFRESH_AFTER
            if task is None:
                bar = bar or _start_bar(total is not None)
                task = _add_task(bar, title, total, n_done, unit)
            bar.update(task, completed=n_done, rate=n_done / seconds)

        try:
            yield advance
        finally:
            if task is not None:
                bar.remove_task(task)
                if bar is not self.bar:
                    bar.stop()


def _start_bar(has_total: bool = True) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with_total = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]},"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    without = (TextColumn("{task.completed:,} {task.fields[unit]}, {task.fields[rate]:,.0f} a second"),)
    bar = Progress(
        TextColumn("{task.description}"),
        *(with_total if has_total else without),
        console=Console(stderr=True, highlight=False),
        transient=True,
        refresh_per_second=5,
    )
    bar.start()
    return bar


def _add_task(bar: Any, title: str, total: int | None, done: int, unit: str) -> Any:
    return bar.add_task(f"[{title}]".replace("[", r"\["), total=total, completed=done, unit=unit, rate=0.0)
