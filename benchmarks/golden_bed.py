"""The bed of the golden checker: planted faults and healthy ports, and the checker's verdict on each.

    python benchmarks/golden_bed.py [FOLDER] [WORD ...]

Faults are planted in independent code: a port in PyTorch (golden_ports/torch_port.py; the table is faults.csv), the C
port of docs/examples and the live page's engine (source_faults.toml). CALIBRATION of them, drawn with SEED, were there
to choose the checker's thresholds; the others are reported. FOLDER (default: runs/golden-bed) keeps the bundles. With
words, only the cases are run whose names contain one of them.
"""

from __future__ import annotations

import platform
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from golden_ports import source_ports
from golden_ports.faults import Fault, faults
from golden_ports.networks import NETWORKS, write_bundle
from golden_ports.torch_port import Arrays, Case, Port
from golden_ports.variations import Variation, variations
from safetensors.numpy import save_file

import glassnet as gn
from glassnet.classification import accuracy_interval

SEED, CALIBRATION = 18, 50
Report = Any  # GoldenReport
Dump = Callable[[Path, Path], Path]  # of a bundle and a folder for files


@dataclass(frozen=True)
class BedCase:
    """A port to check; ``causes`` is None if it is healthy."""

    name: str
    kind: str
    network: str
    dtype: str  # of its bundle
    dump: Dump
    causes: tuple[str, ...] | None = None
    is_listed: bool = False
    is_first: Callable[[Report], bool] = lambda report: False  # whether the report names the first wrong operation


@dataclass(frozen=True)
class Outcome:
    """What the checker says of a port."""

    case: BedCase
    report: Report

    @property
    def is_first_right(self) -> bool:
        return self.report.first is not None and self.case.is_first(self.report)

    @property
    def is_cause_right(self) -> bool:
        return self.report.cause in (self.case.causes or ())

    @property
    def is_cause_wrong(self) -> bool:
        return self.report.cause not in (None, "unknown", *(self.case.causes or ()))

    @property
    def is_right(self) -> bool:
        """Whether a healthy port passed, or the first operation and the cause of a planted fault are right."""
        if self.case.causes is None:
            return bool(self.report.passed)
        is_cause_missed = self.case.is_listed and not self.is_cause_right
        return self.is_first_right and not self.is_cause_wrong and not is_cause_missed

    def __str__(self) -> str:
        first = self.report.first
        found = f"{first.operation} {first.direction} ({first.tensor}), {self.report.cause}" if first else "nothing"
        return f"{self.case.name} [{' or '.join(self.case.causes or ()) or 'no cause'}]: {found}"


class Bundles:
    """The bundles of the bed, written where they are missing, and the healthy port's numbers for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cases: dict[Path, Case] = {}
        self._healthy: dict[Path, Arrays] = {}

    def path(self, network: str, dtype: str) -> Path:
        path = self.folder / f"{network} {dtype}".replace(" ", "-")
        if not (path / "manifest.json").exists():
            write_bundle(network, path, dtype)
        return path

    def port(self, path: Path, dtype: str | None = None) -> Port:
        if path not in self._cases:
            self._cases[path] = Case.read(path)
        return Port(self._cases[path], getattr(torch, dtype) if dtype else None)

    def changed(self, path: Path, arrays: Arrays) -> list[str]:
        """Return the names of the tensors that differ from the healthy port's."""
        if path not in self._healthy:
            self._healthy[path] = self.port(path).run()
        healthy = self._healthy[path]
        return [name for name, array in arrays.items() if not np.array_equal(array, healthy[name])]


# The cases of the bed.


def write_dump(arrays: Arrays, folder: Path) -> Path:
    """Write a dump as a folder, an .npz or a safetensors file: their number of tensors decides."""
    folder.mkdir(parents=True, exist_ok=True)
    form = sum(map(len, arrays)) % 3
    if form == 0:
        np.savez(folder / "dump.npz", **arrays)
        return folder / "dump.npz"
    if form == 1:
        save_file({name: np.array(array, order="C") for name, array in arrays.items()}, folder / "dump.safetensors")
        return folder / "dump.safetensors"
    for name, array in arrays.items():
        path = folder / "dump" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder / "dump"


def torch_fault(fault: Fault, bundles: Bundles) -> BedCase:
    """Return the case of a fault in the PyTorch port."""
    changed: list[str] = []

    def dump(bundle: Path, folder: Path) -> Path:
        port = bundles.port(bundle)
        if fault.operation:  # it shows in the passes; without steps the bed is quicker
            port.case = replace(port.case, learning_rates=[])
        fault.plant(port)
        arrays = port.run()
        changed[:] = bundles.changed(bundle, arrays)
        return write_dump(arrays, folder)

    def is_first(report: Report) -> bool:
        first = report.first
        if fault.direction == "input":
            return first.direction == "input" or first.operation in ("input", "conv1")
        if fault.operation:
            return (first.operation, first.direction) == (fault.operation, fault.direction)
        steps = [int(name.split("/")[1]) for name in changed if name.startswith("steps/")]
        return first.tensor in changed and first.tensor.startswith(f"steps/{min(steps)}/")

    return BedCase(fault.name, fault.kind, fault.network, fault.dtype, dump, fault.causes, fault.is_listed, is_first)


def source_faults() -> Iterator[BedCase]:
    """Yield the faults in the sources of the C port and of the page's engine, if they can run here."""
    for table in filter(source_ports.is_available, source_ports.FAULTS):
        for entry in source_ports.FAULTS[table]:
            causes = tuple(cause for cause in entry["causes"].split("|") if cause)
            network, edits = entry.get("network", "tiny-bn"), entry.get("edits", ())
            if table == "c":
                run: Dump = partial(source_ports.run_c, edits=edits)
            else:
                options = {key: entry[key] for key in ("script", "bug") if key in entry}
                run = partial(source_ports.run_page, network=network, edits=edits, **options)
            name, is_listed = f"{table}: {entry['name']}", bool(causes) and "unknown" not in causes
            first = partial(_is_first_in_source, entry["direction"], entry["operation"])
            yield BedCase(name, f"{table} {entry['name']}", network, "float64", run, causes, is_listed, first)


def _is_first_in_source(direction: str, operation: str, report: Report) -> bool:
    first = report.first
    if operation:
        return bool((first.operation, first.direction) == (operation, direction))
    return bool(first.tensor.startswith("steps/"))


def planted(bundles: Bundles) -> list[BedCase]:
    """Return every planted fault."""
    return [*(torch_fault(fault, bundles) for fault in faults()), *source_faults()]


def healthy(bundles: Bundles) -> Iterator[BedCase]:
    """Yield every healthy port."""
    for variation in variations():
        yield _healthy(variation, bundles)
    if source_ports.is_available("c"):
        for dtype, options in (("float64", ()), ("float32", ("-DREAL=float",)), ("float64", ("-Ofast",))):
            run: Dump = partial(source_ports.run_c, options=options)
            yield BedCase(f"C port {' '.join(options)}, {dtype}", "C port", "tiny-bn", dtype, run)
        ties = [["x[corner + u * W + v] > x[winner]", "x[corner + u * W + v] >= x[winner]"]]
        yield BedCase("C port, last maximum", "C port", "tiny-bn", "float64", partial(source_ports.run_c, edits=ties))
    if source_ports.is_available("page"):
        for network in NETWORKS:
            if not NETWORKS[network].spec.dropout:  # the engine draws its own masks
                run = partial(source_ports.run_page, network=network)
                yield BedCase(f"page's engine, {network}", "page", network, "float64", run)


def _healthy(variation: Variation, bundles: Bundles) -> BedCase:
    def dump(bundle: Path, folder: Path) -> Path:
        port = bundles.port(bundle, variation.port_dtype)
        variation.plant(port)
        return write_dump(port.run(), folder)

    return BedCase(variation.name, variation.name, variation.network, variation.dtype, dump)


def is_calibration(cases: list[BedCase]) -> list[bool]:
    """Return which planted faults were there to choose thresholds."""
    chosen = set(random.Random(SEED).sample(range(len(cases)), CALIBRATION))
    return [index in chosen for index in range(len(cases))]


# Running and counting.


def check(case: BedCase, bundles: Bundles) -> Outcome:
    """Let a port compute, and the checker judge its dump."""
    bundle = bundles.path(case.network, case.dtype)
    with TemporaryDirectory() as folder:
        return Outcome(case, gn.golden.check(bundle, case.dump(bundle, Path(folder))))


def rate(label: str, n: int, total: int) -> str:
    """Return a line of a table: a count with Wilson's interval."""
    low, high = accuracy_interval(n, total)
    return f"| {label} | {n} of {total} | {n / total:.1%} | {low:.1%} – {high:.1%} |"


def kill_table(outcomes: list[Outcome]) -> str:
    """Return the rates of planted faults as a table."""
    listed = [outcome for outcome in outcomes if outcome.case.is_listed]
    lines = ["| | faults | rate | 95 % interval |", "|---|---|---|---|"]
    lines.append(rate("found", sum(not outcome.report.passed for outcome in outcomes), len(outcomes)))
    lines.append(rate("first operation right", sum(o.is_first_right for o in outcomes), len(outcomes)))
    lines.append(rate("cause right, of listed kinds", sum(o.is_cause_right for o in listed), len(listed)))
    lines.append(rate("wrong cause", sum(o.is_cause_wrong for o in outcomes), len(outcomes)))
    return "\n".join(lines)


def main(folder: Path, words: list[str]) -> None:
    """Run the bed and print its tables, and before them each wrong verdict."""
    torch.set_num_threads(1)
    bundles, start = Bundles(folder), time.perf_counter()

    def run(cases: Iterable[BedCase]) -> list[Outcome]:
        outcomes = []
        for case in cases:
            if not words or any(word in case.name for word in words):
                outcomes.append(check(case, bundles))
                if not outcomes[-1].is_right:
                    print(outcomes[-1], flush=True)
        return outcomes

    cases = planted(bundles)
    for title, is_for_choosing in ((f"Calibration (seed {SEED})", True), ("Reported", False)):
        chosen = [case for case, drawn in zip(cases, is_calibration(cases), strict=True) if drawn == is_for_choosing]
        if outcomes := run(chosen):
            causes = {cause for outcome in outcomes if outcome.case.is_listed for cause in outcome.case.causes or ()}
            kinds = len({outcome.case.kind for outcome in outcomes})
            print(f"\n{title}: {len(outcomes)} faults of {kinds} kinds, {len(causes)} causes\n")
            print(kill_table(outcomes), "\n", flush=True)
    sound = run(healthy(bundles))
    print(f"\nHealthy: {len(sound)} ports, {sum(not outcome.is_right for outcome in sound)} false faults")
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.0f} s, {platform.machine()}, torch {torch.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["runs/golden-bed"]
    main(Path(arguments[0]), arguments[1:])
