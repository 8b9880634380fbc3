"""The stop watch, and measuring in turn: what is compared is measured side by side, round after round.

A machine's speed drifts by more than what is to be told apart, but not within a second: so each round has everybody
once, one after another, and what is quoted is the ratio within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from time import perf_counter, sleep
from typing import Any, Protocol

Passes = dict[str, float]  # seconds of each part of a run

TURN = 0.1  # seconds that a turn is to take at least, by repeating what is shorter
MOST_REPEATS = 30
REST = 0.05  # seconds before a turn, in which threads of the turn before that still spin go to sleep


class Clock:
    """Divides a run into its passes."""

    def start(self) -> None:
        self.seconds: Passes = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        """The pass ``name`` ends here."""
        now = perf_counter()
        self.seconds[name] = now - self._last
        self._last = now

    def total(self, name: str) -> Passes:
        """All passes, and their sum under ``name``."""
        return {**self.seconds, name: sum(self.seconds.values())}

    def ends(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, at whose end the pass ``name`` ends."""

        def timed(*arguments: Any) -> Any:
            value = function(*arguments)
            self.lap(name)
            return value

        return timed

    def ended(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, at whose beginning the pass ``name`` has ended."""

        def timed(*arguments: Any) -> Any:
            self.lap(name)
            return function(*arguments)

        return timed


@dataclass(frozen=True)
class Spread:
    """The median of several measurements, and the quartiles around it."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        lower, median, upper = (
            statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
        )
        return cls(median, lower, upper)


class Timed(Protocol):
    """One who takes part: ``at_work`` holds the threads it may use, ``once`` does the work and says how long."""

    def at_work(self) -> AbstractContextManager[None]: ...

    def once(self) -> Passes: ...


def in_turn(parts: Mapping[str, Timed], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each pass in each round, by part. A turn's value is the median of its repeats.

    Each part runs twice before: the first time makes its memory and caches, the second says how often to repeat. And
    once more at the beginning of each turn, since others have used memory and caches meanwhile; in a training the
    step before was the same.
    """
    repeats = {}
    for name, part in parts.items():
        with part.at_work():
            part.once()
            start = perf_counter()
            part.once()
            repeats[name] = min(MOST_REPEATS, ceil(TURN / (perf_counter() - start)))
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            sleep(REST)
            with part.at_work():
                part.once()
                runs = [part.once() for _ in range(repeats[name])]
            for key in runs[0]:
                seconds[name].setdefault(key, []).append(statistics.median(run[key] for run in runs))
    return seconds
