"""Start-up times of the package and its commands, each in fresh processes that take turns.

    python benchmarks/startup.py [ROUNDS]

``beside training`` is the wall time of ``glassnet train digits --epochs 1 --no-report`` without the seconds that the
run's metrics.jsonl counts for its epoch. The torch engine is timed over a bare ``import torch``. Prints a table of
medians and quartiles, the goals, and the machine; exits with 1 if a median misses its goal. One untimed round
compiles and reads everything into the system's file cache.
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

SCRIPT = Path(sys.executable).with_name("glassnet")
GLASSNET = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "glassnet"]


def seconds(*command: str) -> float:
    """Wall time of a process."""
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - start


def python(program: str) -> float:
    return seconds(sys.executable, "-c", program)


def beside_training(engine: str) -> float:
    """Wall time of a one-epoch training on the digits without the epoch's own seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        options = ["--epochs", "1", "--no-report", "--threads", "1", "--run", str(run)]
        total = seconds(*GLASSNET, "train", "digits", "--engine", engine, *options)
        (epoch,) = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        return total - epoch["seconds"]


BUILD = "import glassnet as gn; gn.build('tiny', engine={!r})"

MEASUREMENTS: dict[str, Callable[[], float]] = {
    "python -c pass": lambda: python("pass"),
    "import numpy": lambda: python("import numpy"),
    "import glassnet": lambda: python("import glassnet"),
    "glassnet --help": lambda: seconds(*GLASSNET, "--help"),
    "gn.build, NumPy": lambda: python(BUILD.format("numpy")),
    "train digits beside training": lambda: beside_training("numpy"),
    "import torch": lambda: python("import torch"),
    "gn.build, torch": lambda: python(BUILD.format("torch")),
    "train digits --engine torch beside training": lambda: beside_training("torch"),
}

# By measurement: the goal in seconds, and the measurement that it does not count.
GOALS = {
    "import glassnet": (0.3, None),
    "glassnet --help": (0.4, None),
    "train digits beside training": (1.5, None),
    "gn.build, torch": (1.0, "import torch"),
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each measurement in each round; every round takes all of them once, one after another."""
    selected = {name: run for name, run in MEASUREMENTS.items() if "torch" not in name or find_spec("torch")}
    times: dict[str, list[float]] = {name: [] for name in selected}
    for round_ in range(rounds + 1):
        for name, run in selected.items():
            taken = run()
            if round_ > 0:
                times[name].append(taken)
    return times


def main(rounds: int = 7) -> int:
    times = measure(rounds)
    missed = 0
    print("| | median s | quartiles | goal |")
    print("|---|---|---|---|")
    for name, values in times.items():
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive") if rounds > 1 else values * 3
        text = ""
        if name in GOALS:
            limit, base = GOALS[name]
            counted = statistics.median(values) - (statistics.median(times[base]) if base else 0)
            text = f"≤ {limit} over `{base}`: {counted:.2f}" if base else f"≤ {limit}"
            text += "" if counted <= limit else " **missed**"
            missed += counted > limit
        print(f"| `{name}` | {median:.3f} | {lower:.3f}–{upper:.3f} | {text} |")
    versions = ", ".join(f"{name} {version(name)}" for name in ("glassnet", "numpy", "torch") if find_spec(name))
    print(f"\nMedians of {rounds} rounds on {os.cpu_count()} cores, {platform.platform()}, Python ", end="")
    print(f"{platform.python_version()}, {versions}.")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
