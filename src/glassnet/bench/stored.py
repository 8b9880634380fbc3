"""Beside stored ratios: a file that an earlier bench wrote, and which ratios got worse since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glassnet.bench.report import FORMAT, BenchReport
from glassnet.errors import GlassnetError, RunError
from glassnet.files import write_atomically

WORSE = 1.25  # a ratio that grew by more than a quarter is marked


@dataclass(frozen=True)
class Change:
    """One ratio now and as it was stored; None where it was not stored."""

    workload: str
    task: str
    measure: str
    engine: str
    ratio: float
    stored: float | None

    @property
    def is_worse(self) -> bool:
        return self.stored is not None and self.ratio > WORSE * self.stored

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "worse": self.is_worse}

    def row(self) -> dict[str, Any]:
        """For the table; the last column marks what got worse."""
        return {
            "workload": self.workload,
            "task": self.task,
            "measure": self.measure,
            "ratio to": self.engine,
            "now": self.ratio,
            "stored": self.stored,
            "now ÷ stored": self.stored and self.ratio / self.stored,
            "": "WORSE" if self.is_worse else "new" if self.stored is None else "",
        }


@dataclass(frozen=True)
class Comparison:
    """Every ratio of a bench beside its stored one."""

    changes: tuple[Change, ...]
    note: str | None  # where the two are from different machines or versions

    def raise_if_worse(self) -> None:
        """:raises GlassnetError: counts the ratios that got worse by more than a quarter, and names the worst."""
        worse = [change for change in self.changes if change.is_worse]
        if worse:
            worst = max(worse, key=lambda change: change.ratio / (change.stored or 1))
            raise GlassnetError(
                f"{len(worse)} of {len(self.changes)} ratios got worse by more than a quarter, most of all "
                f"{worst.workload}, {worst.task}, {worst.measure} to {worst.engine}: {worst.ratio:.3g}, stored "
                f"{worst.stored:.3g}."
            )


def store(report: BenchReport, path: Path) -> None:
    """Write a bench for later ones to be compared with.

    :raises RunError: the file cannot be written.
    """
    text = json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RunError(f"The bench {path} cannot be written: {error.strerror or error}.") from error


def read_stored(path: Path) -> dict[str, Any]:
    """A stored bench.

    :raises RunError: a file that is missing, no bench, or of another format.
    """
    try:
        stored = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"The stored bench {path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise RunError(f"{path} is no stored bench: it is not JSON.") from error
    none = RunError(f"{path} is no stored bench of format {FORMAT}: `glassnet bench --save` writes one.")
    try:
        if stored["format"] != FORMAT:
            raise none
        _ratios(stored), _machine(stored)  # rather now than after a long bench
    except (KeyError, TypeError, ValueError, AttributeError):
        raise none from None
    return dict(stored)


def _ratios(stored: Mapping[str, Any]) -> dict[tuple[str, str, str, str], float]:
    """By workload, task, measure and engine."""
    return {
        (workload, row["task"], row["measure"], row["engine"]): float(row["median"])
        for workload, held in stored["workloads"].items()
        for row in held["ratios"]
    }


def _machine(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one machine from another, its versions included."""
    machine = stored["machine"]
    return {"processor": machine["processor"], "cores": machine["cores"], **machine["versions"]}


def compare(report: BenchReport, stored: Mapping[str, Any]) -> Comparison:
    """Every ratio of ``report`` beside the one of the same workload, task, measure and engine in ``stored``."""
    known = _ratios(stored)
    changes = []
    for workload, ratio in report.ratios():
        key = (workload, ratio.task, ratio.measure, ratio.engine)
        changes.append(Change(*key, ratio.spread.median, known.get(key)))
    here, there = _machine(report.as_json()), _machine(stored)
    other = [f"{name} {there.get(name)}, here {value}" for name, value in here.items() if there.get(name) != value]
    return Comparison(tuple(changes), f"Stored elsewhere: {'; '.join(other)}." if other else None)
