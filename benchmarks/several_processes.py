"""Trainings in several processes: the same bits on 1, 2, 4 and 8 of them, and what happens when one is killed.

    python benchmarks/several_processes.py [counts] [kills] [nodes] [slurm]

tiny-bn on the built-in digits, whose last batch has 3 images; 8 shards, 3 epochs, seed 42, crops, flips, dropout. The
digest is that of all tensors in the checkpoint: weights, BatchNorm's statistics and the optimizer's state. A killed
training (SIGKILL of a worker, of torchrun, of the command, of one of two nodes' torchrun) is timed until all of its
workers are gone, and resumed on another number of processes. Two nodes are two torchrun that meet over loopback;
SLURM is its environment variables. Prints one line for each training.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from safetensors import safe_open

TRAINING = "train digits --model tiny-bn --engine torch --device cpu --shards 8 --epochs 3 --seed 42 --no-report"
TRAINING += " --augment flip-crop --dropout 0.25"
MARK = "GLASSNET_BENCHMARK"  # variable by which the processes of a training are found again
Command = list[str]


def command(run: Path, *options: str) -> Command:
    """Return the command that trains in this process, or in as many as ``--devices``."""
    return [sys.executable, "-m", "glassnet", *TRAINING.split(), "--run", str(run), *options]


def torchrun(run: Path, *agent: str, options: tuple[str, ...] = ()) -> Command:
    """Return the command that trains under torchrun, with these options of torchrun."""
    return [sys.executable, "-m", "torch.distributed.run", *agent, "-m", "--", *command(run, *options)[2:]]


@contextmanager
def started(*commands: Command, environments: list[dict[str, str]] | None = None) -> Iterator[Training]:
    """Start the commands of one training, and end what is left of it."""
    mark = uuid.uuid4().hex
    training = Training(mark)
    for each, extra in zip(commands, environments or [{}] * len(commands), strict=True):
        variables = {**os.environ, MARK: mark, **extra}
        pipe = subprocess.PIPE
        training.commands.append(subprocess.Popen(each, env=variables, stdout=pipe, stderr=pipe, text=True))
    try:
        yield training
    finally:
        for process in training.commands:
            process.kill()


class Training:
    """The processes of one training."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.commands: list[subprocess.Popen[str]] = []

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the environment of each process that is alive, by its id."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if (path / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                variables = dict(
                    text.split("=", 1) for text in (path / "environ").read_text().split("\0") if "=" in text
                )
            except (OSError, ValueError):
                continue
            if variables.get(MARK) == self.mark:
                found[int(path.name)] = variables
        return found

    def rank(self, rank: int) -> int:
        """Return the id of the process of a rank."""
        return next(pid for pid, variables in self.processes().items() if variables.get("RANK") == str(rank))

    def seconds_to_end(self) -> float:
        """Wait until every worker is gone, and return how long it took; launchers may take longer to report."""
        start = monotonic()
        while any("RANK" in variables for variables in self.processes().values()) and monotonic() < start + 60:
            sleep(0.05)
        return monotonic() - start

    def lines(self) -> list[str]:
        """Return the error lines of ours from all commands."""
        texts = [process.communicate()[1] for process in self.commands]
        return [line for text in texts for line in text.splitlines() if line.startswith("Error: ")]


def digest(run: Path) -> str:
    """Return a digest of all tensors in the checkpoint of a finished run."""
    sha = hashlib.sha256()
    with safe_open(run / "state" / "checkpoint.safetensors", "numpy") as tensors:
        for key in sorted(tensors.keys()):
            sha.update(key.encode() + tensors.get_tensor(key).tobytes())
    return sha.hexdigest()[:16]


def train(run: Path, *options: str) -> str:
    """Train to the end, and return the digest."""
    done = subprocess.run(command(run, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return digest(run)


def wait_for_epoch(run: Path, epoch: int) -> None:
    """Wait until an epoch is finished."""
    metrics, deadline = run / "metrics.jsonl", monotonic() + 240
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= epoch):
        assert monotonic() < deadline, f"{run} has no epoch {epoch}"
        sleep(0.02)


def show(what: str, **results: object) -> None:
    """Print one line."""
    print(json.dumps({"training": what, **results}, ensure_ascii=False), flush=True)


def counts(folder: Path) -> None:
    """Train on 1, 2, 4 and 8 processes."""
    digests = {}
    for count in (1, 2, 4, 8):
        start = monotonic()
        digests[count] = train(folder / f"count-{count}", f"--devices={count}")
        show(f"{count} processes", digest=digests[count], seconds=round(monotonic() - start, 1))
    assert len(set(digests.values())) == 1, digests


def kill_and_resume(
    folder: Path, name: str, whole: str, victim: Callable[[Training], int], count: int, *commands: Command
) -> None:
    """Kill one process of a training after its first epoch, and resume on ``count`` processes."""
    run = folder / name
    with started(*commands) as training:
        wait_for_epoch(run, 1)
        os.kill(victim(training), signal.SIGKILL)
        seconds, lines = training.seconds_to_end(), training.lines()
    resumed = train(run, "--resume", f"--devices={count}")
    show(f"SIGKILL of {name}", ended_after_s=round(seconds, 1), lines=lines, resumed_on=count, digest=resumed)
    assert seconds <= 5, seconds
    assert resumed == whole, (resumed, whole)
    assert name == "the command" or any(re.match(r"Error: Rank \d+ of \d+", line) for line in lines)


def kills(folder: Path) -> None:
    """Kill a worker, rank 0, torchrun and the command itself."""
    whole = train(folder / "whole-kills")
    names = "rank 3 of 4", "rank 0 of 4", "torchrun", "the command"
    runs = {name: folder / name for name in names}
    by_torchrun = torchrun(runs["torchrun"], "--standalone", "--nproc-per-node=2")
    kill_and_resume(
        folder, names[0], whole, lambda training: training.rank(3), 2, command(runs[names[0]], "--devices=4")
    )
    kill_and_resume(
        folder, names[1], whole, lambda training: training.rank(0), 1, command(runs[names[1]], "--devices=4")
    )
    kill_and_resume(folder, names[2], whole, lambda training: training.commands[0].pid, 4, by_torchrun)
    kill_and_resume(
        folder, names[3], whole, lambda training: training.commands[0].pid, 2, command(runs[names[3]], "--devices=2")
    )


def agents(run: Path) -> list[Command]:
    """Return the commands of two nodes with 2 processes each, which meet at a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", f"--rdzv-id={port}"]
    return [torchrun(run, *meeting, "--local-addr=127.0.0.1", f"--nproc-per-node={count}") for count in (2, 2)]


def nodes(folder: Path) -> None:
    """Train on two nodes, kill the torchrun of one, and resume."""
    whole, run = train(folder / "whole-nodes"), folder / "two-nodes"
    with started(*agents(run)) as training:
        codes = [process.wait(300) for process in training.commands]
    show("two nodes of 2 processes", digest=digest(run), exit_codes=codes)
    assert digest(run) == whole
    name = "one of two nodes"
    kill_and_resume(folder, name, whole, lambda training: training.commands[1].pid, 2, *agents(folder / name))


def slurm(folder: Path) -> None:
    """Train with SLURM's variables on two nodes of two tasks."""
    whole, run = train(folder / "whole-slurm"), folder / "slurm"
    environments = [
        {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": str(rank),
            "SLURM_NTASKS": "4",
            "SLURM_LOCALID": str(rank % 2),
            "SLURM_NODEID": str(rank // 2),
            "SLURM_STEP_NODELIST": "localhost,other[1-3]",
            "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        }
        for rank in range(4)
    ]
    with started(*[command(run) for _ in range(4)], environments=environments) as training:
        codes = [process.wait(300) for process in training.commands]
    show("srun, 2 nodes of 2 tasks", digest=digest(run), exit_codes=codes)
    assert digest(run) == whole


if __name__ == "__main__":
    parts = {"counts": counts, "kills": kills, "nodes": nodes, "slurm": slurm}
    with TemporaryDirectory() as place:
        for part in sys.argv[1:] or parts:
            parts[part](Path(place))
