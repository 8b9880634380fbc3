"""Writes the table of docs/fast-numpy.md from the stored bench. Called by `make bench-store`.

python benchmarks/path_table.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

STORED = Path(__file__).with_name("bench.json")
PAGE = Path(__file__).parents[1] / "docs" / "fast-numpy.md"
BEGIN, END = "<!-- written by benchmarks/path_table.py -->\n", "<!-- end -->"


def lines(stored: dict[str, Any]) -> list[str]:
    """The table, and what it was measured on: each engine's quickest setting, from the slowest to the quickest."""
    best: dict[str, dict[str, Any]] = {}
    for row in stored["workloads"]["path"]["times"]:
        known = best.get(row["engine"])
        if row["measure"] == "forward" and (known is None or row["seconds"]["median"] < known["seconds"]["median"]):
            best[row["engine"]] = row
    loops = best["loops"]["seconds"]["median"]
    table = [
        f"| {row['contender']} | {_number(1e3 * row['seconds']['median'])} ms | "
        f"{_number(row['flops_per_second'] / 1e9)} | {_number(100 * row['share_of_peak'])} % | "
        f"{_number(loops / row['seconds']['median'])}× |"
        for row in sorted(best.values(), key=lambda row: -row["seconds"]["median"])
    ]
    machine = stored["machine"]
    return [
        "| | a batch | GFLOP/s | of the machine's matrix product | as fast as the loops |",
        "|---|---|---|---|---|",
        *table,
        "",
        f"{machine['cores']} cores of {machine['processor']}, NumPy {machine['versions']['numpy']}, medians of "
        f"{stored['rounds']} rounds.",
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def written(page: str, stored: dict[str, Any]) -> str:
    """The page with its table made anew."""
    table = "\n".join(lines(stored)) + "\n"
    return re.sub(f"({BEGIN}).*?({END})", lambda found: found[1] + table + found[2], page, flags=re.DOTALL)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(written(page, json.loads(STORED.read_bytes())), encoding="utf-8")


if __name__ == "__main__":
    main()
