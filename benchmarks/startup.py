"""Start-up times of the package and its commands, each in fresh processes that take turns.

    python benchmarks/startup.py [ROUNDS]

``beside training`` is the time of ``glassnet train digits --epochs 1 --no-report`` without the seconds that the run's
metrics.jsonl counts for its epoch, the steps and evaluations. ``fine-tuning`` is that of resnet18 from a weights file,
on 100 JPEG files of 256 to 500 pixels' width, at 224×224, with the report. The torch engine is timed over a bare
``import torch``, its trainer over a bare ``torch.optim.SGD``. Prints a table with the wall time, the processor time,
which a busy machine changes less, and the goals, and the machine. Exits with 1 if a median of the wall time misses its
goal. One untimed round compiles and reads everything into the file cache of the system.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from PIL import Image

import glassnet as gn
from glassnet.bench.timing import Quartiles
from glassnet.weights import save_tensors

SCRIPT = Path(sys.executable).with_name("glassnet")
GLASSNET = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "glassnet"]


class Seconds(NamedTuple):
    """Wall time and processor time of a process."""

    wall: float
    processor: float


def run(*command: str) -> tuple[Seconds, str]:
    """Run a command and return its times and its output."""
    start, before = perf_counter(), os.times()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = os.times()
    processor = after.children_user - before.children_user + after.children_system - before.children_system
    return Seconds(perf_counter() - start, processor), output


def seconds(*command: str) -> Seconds:
    return run(*command)[0]


def python(program: str) -> Seconds:
    return seconds(sys.executable, "-c", program)


# Runs the command in this process. The last line is the processor time of its epoch, until that is saved.
COMMAND = """
import sys, time
from glassnet.cli import main
from glassnet.training.loop import FitLoop
from glassnet.training.run_folder import RunFolder

def note_time(owner, name):
    function = getattr(owner, name)
    def call(*arguments):
        times.append(time.process_time())
        return function(*arguments)
    setattr(owner, name, call)

times = []
note_time(FitLoop, "run")
note_time(RunFolder, "save_epoch")
try:
    main()
finally:
    print(times[1] - times[0])
"""


def beside_training(engine: str, *source: str) -> Seconds:
    """Return the times of ``glassnet train`` for one epoch on one thread, without those of the epoch."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--engine", engine, "--epochs", "1", "--threads", "1", "--run", str(Path(folder, "run"))]
        total, output = run(sys.executable, "-c", COMMAND, "train", *source, *options)
        (epoch,) = map(json.loads, Path(folder, "run", "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        return Seconds(total.wall - epoch["seconds"], total.processor - float(output.splitlines()[-1]))


def beside_fine_tuning(engine: str) -> Seconds:
    """Return the times of a fine-tuning of resnet18 on 100 JPEG files, without those of its epoch."""
    return beside_training(engine, str(photos()), "--init", str(photos() / "resnet18.safetensors"), *FINE_TUNING)


FINE_TUNING = ("--model", "resnet18", "--image-size", "224")


@cache
def photos() -> Path:
    """Return a folder with 20 drawn images of each of 5 classes, and with weights of resnet18."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    atexit.register(shutil.rmtree, folder)
    for number in range(100):
        height, width = rng.integers(256, 501, 2)
        image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((width, height))
        path = folder / f"class{number % 5}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        image.save(path, quality=90)
    save_tensors(folder / "resnet18.safetensors", gn.build("resnet18", seed=0).state_dict())
    return folder


BUILD = "import glassnet as gn; gn.build('tiny', engine={!r})"
SGD = "import torch; torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)"

MEASUREMENTS: dict[str, Callable[[], Seconds]] = {
    "python -c pass": lambda: python("pass"),
    "import numpy": lambda: python("import numpy"),
    "import glassnet": lambda: python("import glassnet"),
    "glassnet --help": lambda: seconds(*GLASSNET, "--help"),
    "gn.build, NumPy": lambda: python(BUILD.format("numpy")),
    "train digits beside training": lambda: beside_training("numpy", "digits", "--no-report"),
    "fine-tuning beside training": lambda: beside_fine_tuning("numpy"),
    "import torch": lambda: python("import torch"),
    "gn.build, torch": lambda: python(BUILD.format("torch")),
    "torch.optim.SGD": lambda: python(SGD),  # imports torch._dynamo
    "trainer, torch": lambda: python(f"{BUILD.format('torch')}.trainer(gn.Recipe())"),
    "train digits --engine torch beside training": lambda: beside_training("torch", "digits", "--no-report"),
    "fine-tuning --engine torch beside training": lambda: beside_fine_tuning("torch"),
}

# By measurement: the goal in seconds, and the measurement that it does not count.
GOALS = {
    "import glassnet": (0.3, None),
    "glassnet --help": (0.4, None),
    "train digits beside training": (1.5, None),
    "fine-tuning beside training": (6.0, None),
    "fine-tuning --engine torch beside training": (6.0, None),
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
