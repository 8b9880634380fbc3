"""Kills at random instants: what was killed and then started again leaves what an undisturbed command leaves.

    python benchmarks/kills.py [WORK=KILLS ...] [--seed 0] [--quick]

The works are ``cache``, a folder of 2,100 generated JPEGs that is decoded; ``numpy`` and ``torch``, a training in one
process; ``processes``, one of 4 shards in 4 processes (gloo); and ``report``. Each is done once undisturbed. Then it is
done in a new folder, and SIGKILL ends one of its processes, chosen at random among those that there are (the command,
torchrun, a worker, a decoding process), at a random instant after it began to write; a report after it was started.
When all of its processes are gone, the same command runs to its end. Compared are all tensors of last, best and
checkpoint, the metadata, metrics and config.json but for seconds, the table of the images; the decoded pixels, labels,
names and statistics and the cache's index; and every byte of report.html. Prints a line for each kill and a table; the
exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open
from several_processes import started

from glassnet.data.cache.pixel_store import record_dtype
from glassnet.data.cache.record_file import RecordFile

KILLS = {"cache": 8, "numpy": 8, "report": 6, "processes": 5, "torch": 3}
TRAINING = (
    "train digits --model tiny-bn --seed 42 --threads 1 --resume --no-report --augment flip-crop --dropout 0.25 "
    "--ema 0.9 --validation-fraction 0.2"
)
N_IMAGES = 2_100
SIZE = 64  # height and width of the generated images
LOAD = f"""
import json, sys
from hashlib import sha256
import numpy as np
import glassnet as gn

data = gn.load_data(sys.argv[1], image_size={SIZE})
result = {{"fingerprint": data.fingerprint, "mean": data.normalization.mean, "std": data.normalization.std}}
for name, split in (("train", data.train), ("test", data.test)):
    pixels = split.pixels(np.arange(len(split)))
    result[name] = [sha256(part).hexdigest() for part in (pixels, split.labels, json.dumps(split.names).encode())]
    assert split.is_mapped
print(json.dumps(result))
"""
Result = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A command that writes into a folder.

    ``first_file`` is the pattern of the first file that it writes. ``result`` returns what it left, from the folder and
    the command's standard output.
    """

    command: Callable[[Path], list[str]]
    first_file: str
    result: Callable[[Path, str], Result]


def glassnet(*arguments: str) -> Callable[[Path], list[str]]:
    """Return the function that makes the command for a folder; ``RUN`` stands for its run folder."""
    program = [sys.executable, "-m", "glassnet"]
    return lambda folder: [*program, *(str(folder / "run") if word == "RUN" else word for word in arguments)]


def training(epochs: int, *options: str) -> Work:
    """Return a training, which is resumed where there is something to resume."""
    return Work(
        glassnet(*TRAINING.split(), f"--epochs={epochs}", *options, "--run", "RUN"), "run/config.json", run_result
    )


def run_result(folder: Path, _: str = "") -> Result:
    """Return all that a training left, but for seconds."""
    run = folder / "run"
    result: Result = {}
    for path in sorted(run.rglob("*.safetensors")):
        with safe_open(path, "numpy") as tensors:
            for key in tensors.keys():  # noqa: SIM118
                array = tensors.get_tensor(key)
                result[f"{path.name}/{key}"] = str(array.dtype), array.shape, sha256(array).hexdigest()
            texts = (tensors.metadata() or {}).values()
            result[f"{path.name} metadata"] = [untimed(json.loads(text)) for text in texts]
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    result["metrics"] = [untimed(json.loads(line)) for line in lines]
    result["config"] = untimed(json.loads((run / "config.json").read_text(encoding="utf-8")))
    result["images"] = sha256((run / "images.csv.gz").read_bytes()).hexdigest()
    result["files"] = sorted(path.name for path in run.rglob("*") if path.is_file())
    return result


def untimed(value: Any) -> Any:
    """Return plain data without the seconds in it."""
    if isinstance(value, dict):
        return {key: untimed(each) for key, each in value.items() if key != "seconds"}
    return [untimed(each) for each in value] if isinstance(value, list) else value


def report_result(folder: Path, _: str) -> Result:
    """Return the digest of the report."""
    return {"report": sha256((folder / "run" / "report.html").read_bytes()).hexdigest()}


def cache_result(folder: Path, output: str) -> Result:
    """Return what the command read from the cache, and the cache's index."""
    (path,) = (folder / "cache").rglob("records")
    stored, is_valid = RecordFile(path, record_dtype(3)).read()
    index = sha256(b"".join(sorted({record.tobytes() for record in stored[is_valid]}))).hexdigest()
    return {**json.loads(output), "index": index}


def loading(folder: Path) -> list[str]:
    """Return the command that loads the generated images."""
    return [sys.executable, "-c", LOAD, str(folder.parent / "images")]


def write_images(folder: Path) -> None:
    """Write JPEGs of two classes, of which three are damaged."""
    rng = np.random.default_rng(0)
    for index in range(N_IMAGES):
        path = folder / "ab"[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((SIZE + index % 32, SIZE)).save(path, quality=90)
        if index in (10, N_IMAGES // 2, N_IMAGES - 10):
            path.write_bytes(path.read_bytes()[:300])


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a command, which has a cache of its own."""
    return {**os.environ, "GLASSNET_CACHE": str(folder / "cache")}


def run_to_end(command: list[str], folder: Path) -> str:
    """Run a command, and return its standard output."""
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(work: Work, folder: Path, process: subprocess.Popen[Any]) -> float:
    """Wait until a command begins to write, or ends, and return the time."""
    while process.poll() is None and not any(folder.glob(work.first_file)):
        sleep(0.002)
    return monotonic()


def measure(work: Work, folder: Path) -> tuple[float, Result]:
    """Do the work undisturbed, and return the seconds in which it writes, and what it leaves."""
    with subprocess.Popen(work.command(folder), env=environment(folder), stdout=-1, stderr=-3, text=True) as process:
        start = wait_for(work, folder, process)
        output, _ = process.communicate()
    assert process.returncode == 0, work.command(folder)
    return monotonic() - start, work.result(folder, output)


def kill(work: Work, folder: Path, delay: float, rng: random.Random) -> dict[str, Any] | None:
    """Kill one of a command's processes so many seconds after it began to write; None if it ended before that.

    :returns: how many processes it had, which was killed, counted from 0, and after how many seconds all were gone.
    """
    with started(work.command(folder), environments=[environment(folder)]) as training:
        (process,) = training.commands
        wait_for(work, folder, process)
        sleep(delay)
        alive = sorted(training.processes())
        if not alive or process.poll() is not None:
            return None
        victim = rng.randrange(len(alive))
        os.kill(alive[victim], signal.SIGKILL)
        seconds = round(training.seconds_to_end(), 2)
    return {"processes": len(alive), "killed": victim, "gone_after_s": seconds} if process.wait() else None


def kill_and_do_again(work: Work, root: Path, whole: Result, seconds: float, rng: random.Random) -> dict[str, Any]:
    """Kill the work once, do it again, and return what happened, with the names of all that differs."""
    folder, delay = root / "killed", rng.uniform(0, 0.9 * seconds)
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        prepare(root, folder)
        if killed := kill(work, folder, delay, rng):
            break
        delay = rng.uniform(0, delay)  # the command was faster this time
    epochs = folder / "run" / "metrics.jsonl"
    finished = len(epochs.read_bytes().splitlines()) if epochs.is_file() else 0
    again = work.result(folder, run_to_end(work.command(folder), folder))
    differing = sorted(key for key in whole.keys() | again.keys() if whole.get(key) != again.get(key))
    return {"after_s": round(delay, 2), "epochs": finished, **killed, "differing": differing}


def prepare(root: Path, folder: Path) -> None:
    """Make the folder of a work, with the run to report on."""
    folder.mkdir()
    if (root / "reported").is_dir():
        shutil.copytree(root / "reported", folder / "run")


def works(quick: bool) -> dict[str, Work]:
    """Return the works by name."""
    engine, epochs = ("--engine=torch", "--device=cpu"), (2, 2) if quick else (8, 3)
    return {
        "cache": Work(loading, "cache/*/*/pixels", cache_result),
        "numpy": training(epochs[0]),
        "torch": training(epochs[0], *engine),
        "processes": training(epochs[1], *engine, "--shards=4", "--devices=4"),
        "report": Work(glassnet("report", "RUN"), "run/config.json", report_result),
    }


def main(kills: dict[str, int], seed: int, quick: bool) -> int:
    """Kill all works, print what happened, and return the number of kills after which something differed."""
    rows, n_differing = [], 0
    for name, count in kills.items():
        work, rng = works(quick)[name], random.Random(f"{seed} {name}")
        with TemporaryDirectory() as place:
            root, whole = Path(place), Path(place, "whole")
            if name == "cache":
                write_images(root / "images")
            if name == "report":
                run_to_end(training(2).command(root), root)
                (root / "run").rename(root / "reported")
            prepare(root, whole)
            seconds, result = measure(work, whole)
            events = []
            for number in range(1, count + 1):
                events.append(kill_and_do_again(work, root, result, seconds, rng))
                print(json.dumps({"work": name, "kill": number, **events[-1]}), flush=True)
        different = sum(bool(event["differing"]) for event in events)
        slowest = max(event["gone_after_s"] for event in events)
        rows.append(f"| `{name}` | {seconds:.1f} | {count} | {len(result)} | {different} | {slowest:.1f} |")
        n_differing += different
    print("| work | seconds of writing | kills | compared | differing | slowest end, s |\n|---|---|---|---|---|---|")
    print("\n".join(rows))
    return n_differing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK=KILLS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer epochs")
    options = parser.parse_args()
    wanted = {name: int(count) for name, _, count in (text.partition("=") for text in options.works)}
    sys.exit(bool(main(wanted or KILLS, options.seed, options.quick)))
