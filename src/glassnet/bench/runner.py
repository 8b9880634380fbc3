"""Run a bench: check first that all backends compute the same, then time them, then measure their memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.bench.available import available_backends
from glassnet.bench.backends import RECIPE, Backend
from glassnet.bench.machine import describe_machine
from glassnet.bench.memory import peak_memory
from glassnet.bench.results import BenchReport, TaskTimings
from glassnet.bench.timing import time_interleaved
from glassnet.bench.workloads import WORKLOADS, Workload
from glassnet.errors import GlassnetError, choice_error
from glassnet.nn.checks import check_int
from glassnet.progress import Progress
from glassnet.verify.golden.cases import FLOOR, TOLERANCES, max_abs


def run_bench(
    workloads: Sequence[str] | Mapping[str, Workload] = (),
    rounds: int = 7,
    *,
    memory: bool = True,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure workloads on every backend, side by side on this machine.

    :param workloads: names from ``WORKLOADS``, or workloads of your own by name; all of ``WORKLOADS`` by default.
    :param memory: whether to measure peak memory too.
    :raises ConfigError: if a workload is unknown, or rounds is less than 1.
    :raises GlassnetError: if the backends do not compute the same.
    """
    if not isinstance(workloads, Mapping):
        for name in workloads:
            if name not in WORKLOADS:
                raise choice_error("workload", WORKLOADS, name)
        workloads = {name: WORKLOADS[name] for name in WORKLOADS if name in workloads or not workloads}
    check_int("rounds", rounds)
    progress = progress or Progress()
    backends, missing = available_backends()
    timings = {}
    for name, workload in workloads.items():
        progress.log(f"[bench] {name}: time")
        timings[name] = time_workload(workload, backends, rounds)
        if memory:
            progress.log(f"[bench] {name}: memory")
            timings[name] = measure_memory(timings[name])
    return BenchReport(describe_machine(), rounds, timings, [missing] if missing else [])


def time_workload(workload: Workload, backends: Sequence[Backend], rounds: int) -> TaskTimings:
    """Time a workload on several backends.

    :raises GlassnetError: if they do not compute the same.
    """
    check_equal_results(workload, backends)
    seconds = time_interleaved({backend.name: backend.prepare(workload) for backend in backends}, rounds)
    return TaskTimings(workload, backends, {"time": seconds})


def measure_memory(timings: TaskTimings) -> TaskTimings:
    """Return the timings with the peak memory of each backend, if the system measures it."""
    sizes = {backend.name: peak_memory(timings.workload, backend) for backend in timings.backends}
    values = {name: [size] for name, size in sizes.items() if size is not None}
    return replace(timings, values={**timings.values, **({"peak_memory": values} if values else {})})


def check_equal_results(workload: Workload, backends: Sequence[Backend]) -> None:
    """Compare the results of each backend with the first one's, in float64 on at most four images.

    The results are the loss or the logits, and the change of each weight and buffer in units of the learning rate.

    :raises GlassnetError: if a result differs; the error names the backend and the result.
    """
    small = replace(workload, batch_size=min(4, workload.batch_size))
    first, *others = backends
    expected = _results(small, first)
    floor = FLOOR * max(map(max_abs, expected.values()))
    for backend in others:
        results = _results(small, backend)
        for key, array in expected.items():
            difference = max_abs(results[key] - array) / max(max_abs(array), floor)
            if not difference <= TOLERANCES["float64"]:
                raise GlassnetError(
                    f"{backend.name} must compute the same as {first.name} in {workload.title!r}. Got a {key} that "
                    f"differs by {difference:.1e} of its largest value; {TOLERANCES['float64']:.0e} is allowed."
                )


def _results(workload: Workload, backend: Backend) -> dict[str, NDArray[Any]]:
    task = backend.prepare(workload, "float64")
    with task.thread_limits():
        output = np.asarray(task.run_once())
    before, after = workload.state(), task.state()
    changes = {key: (after[key] - before[key]) / RECIPE.lr for key in before}
    return {"loss" if workload.is_training else "logits": output, **changes}
