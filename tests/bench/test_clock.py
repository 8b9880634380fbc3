from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from glassnet.bench import clock
from glassnet.bench.clock import Clock, Passes, Spread, in_turn


def test_laps_divide_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.0, 13.5, 14.0])
    monkeypatch.setattr(clock, "perf_counter", lambda: next(times))
    watch = Clock()
    watch.start()
    assert watch.ends("forward", lambda a, b: a + b)(1, 2) == 3
    assert watch.ended("backward", lambda: "step")() == "step"
    watch.lap("update")
    assert watch.seconds == {"forward": 1.0, "backward": 2.5, "update": 0.5}
    assert watch.total("step") == {"forward": 1.0, "backward": 2.5, "update": 0.5, "step": 4.0}


def test_a_lap_ends_after_the_one_function_and_before_the_other() -> None:
    events: list[str] = []

    class Watch(Clock):
        def lap(self, name: str) -> None:
            events.append(name)

    Watch().ends("after", lambda: events.append("work"))()
    Watch().ended("before", lambda: events.append("work"))()
    assert events == ["work", "after", "before", "work"]


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([1.0, 2.0]) == Spread(1.5, 1.25, 1.75)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


class Worker:
    """Takes the seconds that it is told, on a clock of its own, and notes when it was its turn."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, iter(seconds), log

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self.log.append(f"{self.name} begins")
        yield
        self.log.append(f"{self.name} ends")

    def once(self) -> Passes:
        self.log.append(self.name)
        return {"forward": next(self.seconds)}


def test_everybody_has_a_turn_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "TURN", 1e-9)  # one run fills a turn
    monkeypatch.setattr(clock, "REST", 0)
    log: list[str] = []
    seconds = {"a": [0.0, 0.0, 9.0, 1.0, 9.0, 2.0], "b": [0.0, 0.0, 9.0, 3.0, 9.0, 4.0]}  # the nines are not timed
    workers = {name: Worker(name, own, log) for name, own in seconds.items()}
    assert in_turn(workers, rounds=2) == {"a": {"forward": [1, 2]}, "b": {"forward": [3, 4]}}
    before = ["a begins", "a", "a", "a ends", "b begins", "b", "b", "b ends"]
    one_round = ["a begins", "a", "a", "a ends", "b begins", "b", "b", "b ends"]
    assert log == before + 2 * one_round


def test_a_turn_is_the_median_of_its_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "MOST_REPEATS", 3)
    monkeypatch.setattr(clock, "REST", 0)
    worker = Worker("a", [0.0, 0.0, 5.0, 9.0, 1.0, 2.0], [])
    assert in_turn({"a": worker}, rounds=1) == {"a": {"forward": [2.0]}}
    assert worker.log == ["a begins", "a", "a", "a ends", "a begins", "a", "a", "a", "a", "a ends"]
