"""What was measured: seconds, and what follows from them. Ratios are what is quoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from glassnet.bench.clock import Spread
from glassnet.bench.contenders import Contender
from glassnet.bench.machine import Machine
from glassnet.bench.tasks import Task

FORMAT = 1
OURS = "glassnet"


@dataclass(frozen=True)
class Ratio:
    """Our time, or memory, by that of another engine's best setting: the median over the rounds, and the quartiles."""

    task: str
    measure: str  # a pass, or "memory"
    engine: str
    setting: str  # the contender that was the best of its engine
    spread: Spread

    def row(self) -> dict[str, Any]:
        names = {"task": self.task, "measure": self.measure, "engine": self.engine, "setting": self.setting}
        return {**names, **asdict(self.spread)}


@dataclass(frozen=True)
class Contest:
    """One task, by everybody who took part: seconds by contender, pass and round, and bytes by contender."""

    task: Task
    contenders: Sequence[Contender]
    seconds: Mapping[str, Mapping[str, Sequence[float]]]
    memory: Mapping[str, int] = field(default_factory=dict)

    def spread(self, contender: str, measure: str) -> Spread | None:
        """Seconds of a pass; None where the contender has it not."""
        values = self.seconds[contender].get(measure)
        return None if values is None else Spread.of(values)

    def flops_per_second(self, contender: str, measure: str) -> float | None:
        """At the median."""
        work, spread = self.task.work.get(measure), self.spread(contender, measure)
        return None if work is None or spread is None else work.flops / spread.median

    def best(self, engine: str, measure: str) -> str | None:
        """The contender of an engine that needs least of ``measure``."""
        amounts = {
            contender.name: amount
            for contender in self.contenders
            if contender.engine == engine and (amount := self._amount(contender.name, measure)) is not None
        }
        return min(amounts, key=lambda name: amounts[name]) if amounts else None

    def _amount(self, contender: str, measure: str) -> float | None:
        if measure == "memory":
            return self.memory.get(contender)
        spread = self.spread(contender, measure)
        return None if spread is None else spread.median

    @property
    def engines(self) -> list[str]:
        """All but ours."""
        return list(dict.fromkeys(one.engine for one in self.contenders if one.engine != OURS))

    @cached_property
    def ratios(self) -> list[Ratio]:
        """Ours by the others', for every pass whose work is counted, and for memory."""
        measures = [*self.task.work, *(["memory"] if self.memory else [])]
        found = (self._ratio(engine, measure) for measure in measures for engine in self.engines)
        return [ratio for ratio in found if ratio is not None]

    def _ratio(self, engine: str, measure: str) -> Ratio | None:
        setting = self.best(engine, measure)
        spread = None if setting is None else self.ratio_to(setting, measure)
        return None if setting is None or spread is None else Ratio(self.task.name, measure, engine, setting, spread)

    def ratio_to(self, contender: str, measure: str) -> Spread | None:
        """Ours by one contender's, round by round; of memory there is one measurement. None where one has it not."""
        ours = self.best(OURS, measure)
        if ours is None or self._amount(contender, measure) is None:
            return None
        if measure == "memory":
            return Spread.of([self.memory[ours] / self.memory[contender]])
        pairs = zip(self.seconds[ours][measure], self.seconds[contender][measure], strict=True)
        return Spread.of([mine / theirs for mine, theirs in pairs])

    def rows(self, peak: float) -> Iterable[dict[str, Any]]:
        """For each contender and pass: seconds, FLOP/s, and their share of the machine's ``peak``."""
        for contender in self.contenders:
            for measure in self.seconds[contender.name]:
                speed = self.flops_per_second(contender.name, measure)
                yield {
                    "task": self.task.name,
                    "contender": contender.name,
                    "engine": contender.engine,
                    "layout": contender.layout,
                    "threads": contender.threads,
                    "measure": measure,
                    "seconds": asdict(Spread.of(self.seconds[contender.name][measure])),
                    "flops_per_second": speed,
                    "share_of_peak": speed and speed / peak,
                }


@dataclass(frozen=True)
class BenchReport:
    """Every workload that was measured, in turn on one machine in one process."""

    machine: Machine
    rounds: int
    titles: Mapping[str, str]  # by workload
    contests: Mapping[str, Sequence[Contest]]  # by workload
    notes: Sequence[str]  # such as who is missing

    def ratios(self) -> list[tuple[str, Ratio]]:
        """Every ratio with its workload."""
        return [
            (workload, ratio)
            for workload, contests in self.contests.items()
            for contest in contests
            for ratio in contest.ratios
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain data; what ``glassnet bench --json`` prints and ``benchmarks/bench.json`` holds."""
        peak = self.machine.gemm_peak
        return {
            "format": FORMAT,
            "machine": asdict(self.machine),
            "rounds": self.rounds,
            "notes": list(self.notes),
            "workloads": {
                workload: {
                    "title": self.titles[workload],
                    "ratios": [ratio.row() for contest in contests for ratio in contest.ratios],
                    "times": [row for contest in contests for row in contest.rows(peak)],
                    "memory": {name: taken for contest in contests for name, taken in contest.memory.items()},
                }
                for workload, contests in self.contests.items()
            },
        }
