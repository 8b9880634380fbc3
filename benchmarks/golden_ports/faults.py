"""The table of planted faults, faults.csv: what is wrong, where, and the cause that the checker should name.

A row's fault is a function of forward_faults, backward_faults or training_faults. With a kind it is a rule for one
operation of that kind, or for all (``*``), else it changes a whole port; then the site is where it shows first.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from . import backward_faults, forward_faults, training_faults
from .networks import OPERATIONS
from .torch_port import Port

TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Fault:
    """A fault in one port: ``causes`` are those that are right, none if it is not of a listed kind."""

    name: str
    kind: str  # faults that differ in their site alone are of one kind
    network: str
    dtype: str
    causes: tuple[str, ...]
    direction: str  # input, forward, backward, update
    operation: str  # the first wrong one; empty: whichever is updated first
    plant: Callable[[Port], None]

    @property
    def is_listed(self) -> bool:
        """Whether the checker should find the cause."""
        return bool(self.causes) and "unknown" not in self.causes


def faults() -> Iterator[Fault]:
    """Yield every fault of the table, in float64 and float32 in turn unless a row says which."""
    number = count()
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for site in row["sites"].split(" ; "):
                dtype = row["dtype"] or ("float64", "float32")[next(number) % 2]
                yield _fault(row, site, dtype)


def _fault(row: dict[str, str], site: str, dtype: str) -> Fault:
    network, _, place = site.partition("/")
    operations = _operations(network, row["kind"], row["needs"]) if place == "*" else [place]
    first = operations[-1 if row["direction"] == "backward" else 0]
    causes = tuple(cause for cause in row["causes"].split("|") if cause)
    kind = f"{row['kind']} {row['direction']} {row['fault']}".strip()
    name = f"{kind}: {site.strip('/')}, {dtype}"
    return Fault(name, kind, network, dtype, causes, row["direction"], first, _plant(row, first, operations))


def _operations(network: str, kind: str, needs: str) -> list[str]:
    """Return the operations of a kind, those with a kernel larger than a pixel, or a stride, if the fault needs it."""

    def fits(attributes: dict[str, Any]) -> bool:
        return ("spatial" not in needs or attributes["kernel_size"] > 1) and (
            "strided" not in needs or attributes["stride"] > 1
        )

    return [o.name for o in OPERATIONS[network] if o.kind == kind and fits(dict(o.attributes))]


def _plant(row: dict[str, str], first: str, operations: list[str]) -> Callable[[Port], None]:
    if not row["kind"]:
        return partial(_plant_in_port, getattr(training_faults, row["fault"]), first)
    module = forward_faults if row["direction"] == "forward" else backward_faults
    rules = dict.fromkeys(operations, getattr(module, row["fault"]))
    return partial(_plant_rules, row["direction"], rules)


def _plant_in_port(plant: Callable[[Port, str], None], operation: str, port: Port) -> None:
    plant(port, operation)


def _plant_rules(direction: str, rules: dict[str, Any], port: Port) -> None:
    table: dict[str, Any] = port.forward_rules if direction == "forward" else port.backward_rules
    table.update(rules)
