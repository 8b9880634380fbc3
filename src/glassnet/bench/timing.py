"""Timing side by side: in each round every implementation runs once, one after another, in one process.

A machine's speed drifts over minutes by more than the differences that are measured, but hardly within a second. So
the ratio of two times of the same round is steadier than the ratio of two averages.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass
from math import ceil
from time import perf_counter, sleep
from typing import Any

from numpy.typing import NDArray

MIN_RUN_TIME = 0.1  # seconds per turn; shorter tasks are repeated
MAX_REPEATS = 30
COOLDOWN_SECONDS = 0.05  # before a turn: threads of the turn before may still spin


@dataclass(frozen=True)
class Quartiles:
    """The median of several measurements, and the quartiles around it."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """Return the quartiles of the values (linear between them); a single value is all three."""
        return cls(*(statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3))

    def format(self) -> str:
        """Return ``0.54 (0.53–0.56)``, or ``0.54`` for a single measurement."""
        lower, median, upper = (f"{x:.2f}" if x >= 0.095 else f"{x:.2g}" for x in astuple(self))
        return median if self.lower == self.upper else f"{median} ({lower}–{upper})"


@dataclass(frozen=True)
class TimedTask:
    """A task that is ready to run. ``run_once`` returns the loss of a step or the logits; ``state`` the weights."""

    thread_limits: Callable[[], AbstractContextManager[None]]
    run_once: Callable[[], Any]
    state: Callable[[], Mapping[str, NDArray[Any]]]


def time_interleaved(tasks: Mapping[str, TimedTask], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each task in each round: the median of the repeats in its turn.

    Two runs before the first round warm up, and determine the number of repeats. The first run of each turn is not
    counted: other tasks have used memory and caches in the meantime.
    """
    repeats = {}
    for name, task in tasks.items():
        with task.thread_limits():
            task.run_once()
            repeats[name] = min(MAX_REPEATS, ceil(MIN_RUN_TIME / _seconds(task)))
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            sleep(COOLDOWN_SECONDS)
            with task.thread_limits():
                task.run_once()
                seconds[name].append(statistics.median(_seconds(task) for _ in range(repeats[name])))
    return seconds


def _seconds(task: TimedTask) -> float:
    start = perf_counter()
    task.run_once()
    return perf_counter() - start
