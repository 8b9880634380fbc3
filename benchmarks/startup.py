"""Start-up times of the package and its commands, each in fresh processes that take turns.

    python benchmarks/startup.py [ROUNDS]

``beside training`` is the time of ``glassnet train digits --epochs 1 --no-report`` without the seconds that the run's
metrics.jsonl counts for its epoch. The torch engine is timed over a bare ``import torch``, its trainer over a bare
``torch.optim.SGD``. Prints a table with the wall time, the processor time, which a busy machine changes less, and the
goals, and the machine. Exits with 1 if a median of the wall time misses its goal. One untimed round compiles and reads
everything into the file cache of the system.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from glassnet.bench.timing import Quartiles

SCRIPT = Path(sys.executable).with_name("glassnet")
GLASSNET = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "glassnet"]


class Seconds(NamedTuple):
    """Wall time and processor time of a process."""

    wall: float
    processor: float


def seconds(*command: str) -> Seconds:
    """Run a command and return its times."""
    start, before = perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    processor = after.children_user - before.children_user + after.children_system - before.children_system
    return Seconds(perf_counter() - start, processor)


def python(program: str) -> Seconds:
    return seconds(sys.executable, "-c", program)


def beside_training(engine: str) -> Seconds:
    """Return the times of one epoch on the digits, on one thread, without the epoch's own seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        options = ["--epochs", "1", "--no-report", "--threads", "1", "--run", str(run)]
        total = seconds(*GLASSNET, "train", "digits", "--engine", engine, *options)
        (epoch,) = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        return Seconds(total.wall - epoch["seconds"], total.processor - epoch["seconds"])


BUILD = "import glassnet as gn; gn.build('tiny', engine={!r})"
SGD = "import torch; torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)"

MEASUREMENTS: dict[str, Callable[[], Seconds]] = {
    "python -c pass": lambda: python("pass"),
    "import numpy": lambda: python("import numpy"),
    "import glassnet": lambda: python("import glassnet"),
    "glassnet --help": lambda: seconds(*GLASSNET, "--help"),
    "gn.build, NumPy": lambda: python(BUILD.format("numpy")),
    "train digits beside training": lambda: beside_training("numpy"),
    "import torch": lambda: python("import torch"),
    "gn.build, torch": lambda: python(BUILD.format("torch")),
    "torch.optim.SGD": lambda: python(SGD),  # imports torch._dynamo
    "trainer, torch": lambda: python(f"{BUILD.format('torch')}.trainer(gn.Recipe())"),
    "train digits --engine torch beside training": lambda: beside_training("torch"),
}

# By measurement: the goal in seconds, and the measurement that it does not count.
GOALS = {
    "import glassnet": (0.3, None),
    "glassnet --help": (0.4, None),
    "train digits beside training": (1.5, None),
    "gn.build, torch": (1.0, "import torch"),
    "trainer, torch": (1.0, "torch.optim.SGD"),
}


def measure(rounds: int) -> dict[str, list[Seconds]]:
    """Return the times of each measurement in each round; every round takes all of them once, one after another."""
    selected = {name: run for name, run in MEASUREMENTS.items() if "torch" not in name or find_spec("torch")}
    times: dict[str, list[Seconds]] = {name: [] for name in selected}
    for round_ in range(rounds + 1):
        for name, run in selected.items():
            taken = run()
            if round_ > 0:
                times[name].append(taken)
    return times


def main(rounds: int = 7) -> int:
    times = measure(rounds)
    wall = {name: Quartiles.of([taken.wall for taken in values]) for name, values in times.items()}
    missed = 0
    print("| | median s | quartiles | processor s | goal |")
    print("|---|---|---|---|---|")
    for name, quartiles in wall.items():
        processor = statistics.median(taken.processor for taken in times[name])
        text = ""
        if name in GOALS:
            limit, base = GOALS[name]
            counted = quartiles.median - (wall[base].median if base else 0)
            text = f"≤ {limit} over `{base}`: {counted:.2f}" if base else f"≤ {limit}"
            text += "" if counted <= limit else " **missed**"
            missed += counted > limit
        row = f"{quartiles.median:.3f} | {quartiles.lower:.3f}–{quartiles.upper:.3f} | {processor:.3f}"
        print(f"| `{name}` | {row} | {text} |")
    versions = ", ".join(f"{name} {version(name)}" for name in ("glassnet", "numpy", "torch") if find_spec(name))
    print(f"\nMedians of {rounds} rounds on {os.cpu_count()} cores, {platform.platform()}, Python ", end="")
    print(f"{platform.python_version()}, {versions}.")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
