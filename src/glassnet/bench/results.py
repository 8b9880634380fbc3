"""Measurements of a bench, and what follows from them: ratios, tables, summary sentences, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from glassnet.bench.backends import FAST, Backend
from glassnet.bench.machine import Machine
from glassnet.bench.timing import Quartiles
from glassnet.bench.workloads import Workload

FORMAT = 2
MEBI = 1 << 20


@dataclass(frozen=True)
class Ratio:
    """Time or peak memory of NumPy fast, divided by that of another implementation; each with its best setting."""

    measure: str  # "time" or "peak_memory"
    implementation: str
    backend: str  # the implementation with its best setting
    quartiles: Quartiles  # over the rounds


@dataclass(frozen=True)
class TaskTimings:
    """Measurements of one workload.

    ``values`` are the seconds of every round, ``values["time"][backend]``, and the bytes beyond weights and batch,
    ``values["peak_memory"][backend]``, a single one if they were measured.
    """

    workload: Workload
    backends: Sequence[Backend]
    values: Mapping[str, Mapping[str, Sequence[float]]]

    def quartiles(self, measure: str, backend: str) -> Quartiles:
        """Return the quartiles of one backend over the rounds, in seconds or bytes."""
        return Quartiles.of(self.values[measure][backend])

    def best(self, measure: str, implementation: str) -> str:
        """Return the name of the backend of an implementation that takes the least time or memory."""
        names = [backend.name for backend in self.backends if backend.implementation == implementation]
        return min(names, key=lambda name: self.quartiles(measure, name).median)

    def ratio_against(self, measure: str, backend: str) -> Quartiles:
        """Return NumPy fast divided by one backend, round by round."""
        values = self.values[measure]
        pairs = zip(values[self.best(measure, FAST)], values[backend], strict=True)
        return Quartiles.of([fast / other for fast, other in pairs])

    def ratios(self, measure: str) -> list[Ratio]:
        """Return the ratio to each other implementation."""
        others = dict.fromkeys(backend.implementation for backend in self.backends if backend.implementation != FAST)
        best = {implementation: self.best(measure, implementation) for implementation in others}
        return [Ratio(measure, other, name, self.ratio_against(measure, name)) for other, name in best.items()]

    @property
    def all_ratios(self) -> list[Ratio]:
        """The ratios of time, and of memory if it was measured."""
        return [ratio for measure in self.values for ratio in self.ratios(measure)]

    @property
    def summary(self) -> list[str]:
        """One sentence about the time, and one about the memory if it was measured."""
        texts = {
            measure: [f"{ratio.quartiles.format()} × that of {ratio.backend}" for ratio in self.ratios(measure)]
            for measure in self.values
        }
        words = {"time": "The time", "peak_memory": "The peak memory"}
        return [f"{words[measure]} of {FAST} is {'; and '.join(own)}." for measure, own in texts.items() if own]

    def table_rows(self) -> list[dict[str, Any]]:
        """Return a row for each backend: median and quartiles of the time, its ratio, peak memory."""
        rows = []
        for name in [backend.name for backend in self.backends]:
            lower, median, upper = (_round(1e3 * seconds) for seconds in astuple(self.quartiles("time", name)))
            row = {"backend": name, "median ms": median, "quartiles": f"{lower:,}–{upper:,}"}
            row["fast ÷ this"] = self.ratio_against("time", name).format()
            if "peak_memory" in self.values:
                row["peak MiB"] = _round(self.values["peak_memory"][name][0] / MEBI)
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return quartiles and ratios as JSON takes them."""
        backends = [
            {
                "backend": backend.name,
                "implementation": backend.implementation,
                **{measure: asdict(self.quartiles(measure, backend.name)) for measure in self.values},
            }
            for backend in self.backends
        ]
        ratios = [asdict(ratio) for ratio in self.all_ratios]
        return {"title": self.workload.title, "ratios": ratios, "backends": backends}


@dataclass(frozen=True)
class BenchReport:
    """Measurements of every workload, taken in one process."""

    machine: Machine
    rounds: int
    timings: Mapping[str, TaskTimings]  # keys: names of workloads
    notes: Sequence[str] = ()  # such as a missing PyTorch

    @property
    def machine_rows(self) -> list[list[str]]:
        """The machine and the versions as name and text."""
        return [[name, "not installed" if value is None else str(value)] for name, value in self.machine.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: what ``glassnet bench --json`` prints and ``--save`` writes."""
        return {
            "format": FORMAT,
            "machine": self.machine,
            "rounds": self.rounds,
            "notes": list(self.notes),
            "workloads": {name: timings.to_dict() for name, timings in self.timings.items()},
        }


def _round(value: float) -> float | int:
    """Round to three digits, or to a whole number from 100 on."""
    return round(value) if value >= 100 else float(f"{value:.3g}")
