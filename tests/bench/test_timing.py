from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from glassnet.bench import timing
from glassnet.bench.timing import Quartiles, TimedTask, time_interleaved


def test_quartiles_of_several_values() -> None:
    assert Quartiles.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Quartiles(lower=2.0, median=3.0, upper=4.0)
    assert Quartiles.of([1.0, 2.0]) == Quartiles(1.25, 1.5, 1.75)
    assert Quartiles.of([7.0]) == Quartiles(7.0, 7.0, 7.0)


def test_quartiles_format() -> None:
    assert Quartiles(1.2, 1.254, 1.3).format() == "1.25 (1.20–1.30)"
    assert Quartiles(0.00012, 0.000123, 0.00013).format() == "0.00012 (0.00012–0.00013)"
    assert Quartiles.of([0.5]).format() == "0.50"


class FakeTask:
    """A task that takes the given seconds on a clock of its own, and logs its runs."""

    now = 0.0

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, iter(seconds), log

    @contextmanager
    def thread_limits(self) -> Iterator[None]:
        self.log.append(f"{self.name} begins")
        yield
        self.log.append(f"{self.name} ends")

    def run_once(self) -> None:
        self.log.append(self.name)
        FakeTask.now += next(self.seconds)

    def task(self) -> TimedTask:
        return TimedTask(self.thread_limits, self.run_once, dict)


@pytest.fixture(autouse=True)
def _fake_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "perf_counter", lambda: FakeTask.now)
    monkeypatch.setattr(timing, "COOLDOWN_SECONDS", 0)


def test_time_interleaved_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    seconds = {"a": [9.0, 1.0, 9.0, 1.0, 9.0, 2.0], "b": [9.0, 1.0, 9.0, 3.0, 9.0, 4.0]}  # the nines are not timed
    tasks = {name: FakeTask(name, values, log).task() for name, values in seconds.items()}
    assert time_interleaved(tasks, rounds=2) == {"a": [1, 2], "b": [3, 4]}
    turns = ["a begins", "a", "a", "a ends", "b begins", "b", "b", "b ends"]
    assert log == 3 * turns  # one before the rounds, in which the number of repeats is measured


def test_time_interleaved_repeats_short_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    short = timing.MIN_RUN_TIME / 2.5
    task = FakeTask("a", [9.0, short, 9.0, 5.0, 1.0, 2.0], [])
    assert time_interleaved({"a": task.task()}, rounds=1) == {"a": [2.0]}  # the median of three


def test_time_interleaved_limits_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MAX_REPEATS", 2)
    task = FakeTask("a", [9.0, 1e-9, 9.0, 1.0, 2.0], [])
    assert time_interleaved({"a": task.task()}, rounds=1) == {"a": [1.5]}
