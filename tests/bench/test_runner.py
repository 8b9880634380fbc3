from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from glassnet.bench import runner, timing
from glassnet.bench.backends import Backend, FastBackend, PlainBackend
from glassnet.bench.runner import check_equal_results, run_bench, time_workload
from glassnet.bench.timing import TimedTask
from glassnet.bench.workloads import WORKLOADS, Workload, training_step
from glassnet.errors import ConfigError, GlassnetError
from glassnet.progress import Progress
from tests.bench.small import SMALL, TINY, all_backends


class Lines(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MIN_RUN_TIME", 1e-9)
    monkeypatch.setattr(timing, "COOLDOWN_SECONDS", 0)
    monkeypatch.setitem(WORKLOADS, "few", Workload("Few", SMALL, 4, is_training=False))
    numpy: list[Backend] = [FastBackend(1), PlainBackend(1)]
    monkeypatch.setattr(runner, "available_backends", lambda: (numpy, "PyTorch was not measured: it is away"))


def test_run_bench_measures_workloads_by_name() -> None:
    progress = Lines()
    report = run_bench(["few"], rounds=2, memory=False, progress=progress)
    assert progress.lines == ["[bench] few: time"]
    assert list(report.timings) == ["few"]
    assert report.notes == ["PyTorch was not measured: it is away"]
    seconds = report.timings["few"].values["time"]
    assert {name: len(values) for name, values in seconds.items()} == {
        "NumPy fast, 1 thread": 2,
        "NumPy plain, 1 thread": 2,
    }
    assert all(value > 0 for values in seconds.values() for value in values)


def test_run_bench_measures_a_network_of_ones_own() -> None:
    workload = training_step(SMALL, 2)
    assert workload.title == "Training step of resnet20 on 3×8×8, batch 2"
    assert run_bench({"mine": workload}, 1, memory=False).timings["mine"].workload == workload


def test_run_bench_measures_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([10, 20])
    monkeypatch.setattr(runner, "peak_memory", lambda workload, backend: next(sizes))
    (timings,) = run_bench(["few"], 1).timings.values()
    assert timings.values["peak_memory"] == {"NumPy fast, 1 thread": [10], "NumPy plain, 1 thread": [20]}


def test_run_bench_without_memory_where_the_system_does_not_measure_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "peak_memory", lambda workload, backend: None)
    assert list(run_bench(["few"], 1).timings["few"].values) == ["time"]


def test_run_bench_refuses_an_unknown_workload() -> None:
    text = r"workload must be one of digits, block, .*\. Got 'digit'; did you mean 'digits'\?"
    with pytest.raises(ConfigError, match=text):
        run_bench(["digits", "digit"])


def test_run_bench_refuses_zero_rounds() -> None:
    with pytest.raises(ConfigError, match=r"^rounds must be an integer of at least 1\. Got 0\."):
        run_bench(["few"], 0)


@pytest.mark.parametrize(
    "workload",
    [TINY, Workload("Block", SMALL.replace(blocks=1), 8), Workload("Small", SMALL, 8), Workload("L", SMALL, 8, False)],
    ids=lambda workload: workload.title,
)
def test_check_equal_results_passes_for_all_backends(workload: Workload) -> None:
    check_equal_results(workload, all_backends())


def planted(change: Any) -> Backend:
    """Return a plain backend whose results are changed."""

    class Wrong(PlainBackend):
        def prepare(self, workload: Workload, dtype: str = "float32") -> TimedTask:
            return change(super().prepare(workload, dtype))

    return Wrong(1)


def test_time_workload_refuses_a_wrong_weight() -> None:
    def other_weight(task: TimedTask) -> TimedTask:
        def state() -> Any:
            state = dict(task.state())
            state["conv1.weight"] = state["conv1.weight"] + 1e-11  # a gradient that is wrong by 1e-6
            return state

        return replace(task, state=state)

    text = (
        r"NumPy plain, 1 thread must compute the same as NumPy fast, 1 thread in 'Step of tiny'\. Got a conv1\.weight "
        r"that differs by \S+ of its largest value; 1e-09 is allowed\."
    )
    with pytest.raises(GlassnetError, match=text):
        time_workload(TINY, [FastBackend(1), planted(other_weight)], rounds=1)


def test_check_equal_results_finds_a_wrong_output() -> None:
    def other_output(task: TimedTask) -> TimedTask:
        return replace(task, run_once=lambda: task.run_once() + np.float64(1e-6))

    logits = Workload("Logits", SMALL, 8, is_training=False)
    for workload, key in ((TINY, "loss"), (logits, "logits")):
        with pytest.raises(GlassnetError, match=rf"Got a {key} that differs"):
            check_equal_results(workload, [FastBackend(1), planted(other_output)])
