"""A saved bench, and which ratios grew since: before and after a change, on one machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassnet.bench.results import FORMAT, BenchReport
from glassnet.errors import GlassnetError, RunError
from glassnet.files import write_atomically

WORSE = 1.25  # a ratio is worse if it grew by more than a quarter


@dataclass(frozen=True)
class SavedComparison:
    """A row for each ratio, beside its saved value; ``note`` says how the two machines differ."""

    rows: list[dict[str, Any]]
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return note and rows as JSON takes them."""
        return {"note": self.note, "rows": self.rows}

    def raise_if_worse(self) -> None:
        """Check that no ratio grew by more than a quarter.

        :raises GlassnetError: if one did; the error names the worst.
        """
        worse = [row for row in self.rows if row["result"] == "worse"]
        if worse:
            row = max(worse, key=lambda row: row["growth"])
            raise GlassnetError(
                f"{len(worse)} of {len(self.rows)} ratios grew by more than a quarter. Worst is {row['measure']} of "
                f"{row['workload']} beside {row['implementation']}: {row['ratio']:.3g}, saved {row['saved']:.3g}."
            )


def save_bench(report: BenchReport, path: Path) -> None:
    """Write a bench as JSON, to compare later ones with.

    :raises RunError: if the file cannot be written.
    """
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error


def load_bench(path: Path) -> dict[str, Any]:
    """Load a saved bench.

    :raises RunError: if the file is missing, or is not a bench of this format.
    """
    try:
        saved = json.loads(path.read_bytes())
        if saved["format"] == FORMAT:
            compare_saved(BenchReport({}, 0, {}), saved)  # better now than after a long bench
            return dict(saved)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise RunError(f"{path} must be a bench of format {FORMAT}, as `glassnet bench --save` writes it.")


def compare_saved(report: BenchReport, saved: Mapping[str, Any]) -> SavedComparison:
    """Compare every ratio of ``report`` with the saved one of the same workload, measure and implementation."""
    known = {
        (workload, ratio["measure"], ratio["implementation"]): float(ratio["quartiles"]["median"])
        for workload, task in saved["workloads"].items()
        for ratio in task["ratios"]
    }
    rows = []
    for workload, timings in report.timings.items():
        for ratio in timings.all_ratios:
            now, before = ratio.quartiles.median, known.get((workload, ratio.measure, ratio.implementation))
            growth = None if before is None else now / before
            rows.append(
                {
                    "workload": workload,
                    "measure": ratio.measure,
                    "implementation": ratio.implementation,
                    "ratio": now,
                    "saved": before,
                    "growth": growth,
                    "result": "new" if growth is None else "worse" if growth > WORSE else "",
                }
            )
    there = dict(saved["machine"])
    here = {name: value for name, value in report.machine.items() if name != "system"}
    differences = [f"{name} {there.get(name)}, here {here[name]}" for name in here if there.get(name) != here[name]]
    return SavedComparison(rows, f"Saved elsewhere: {'; '.join(differences)}." if differences else None)
