"""Peak memory of a task, of each contender in a fresh process of its own, all measured in the same way.

A process builds the contender's network and batch after a run with two images, which loads whatever code is loaded
late; then it notes its resident memory, lets Linux forget the highest so far, runs twice, and reads the highest again.
The difference is what the runs took beyond weights and batch: activations, columns, gradients and the optimizer's
state, as the system sees it, whatever allocator asked for it.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from glassnet.bench.contenders import Contender
from glassnet.bench.tasks import Training
from glassnet.errors import GlassnetError

RUNS = 2
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(workload: str, contender: str) -> int | None:
    """Bytes that a workload's task takes in a process of its own; None where the system does not tell.

    :raises GlassnetError: the process failed.
    """
    if not CLEAR.exists():
        return None
    command = [sys.executable, "-m", "glassnet.bench.memory", workload, contender]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
        raise GlassnetError(f"The memory of {contender} on {workload} cannot be measured: {last}")
    taken: int = json.loads(done.stdout)
    return taken


def measure(task: Training, contender: Contender) -> int:
    """The same in this process, which must be fresh: bytes."""
    with contender.at_work():
        early = contender.part(replace(task, batch_size=2))
        assert early is not None
        early.once()
        del early
        gc.collect()
        part = contender.part(task)
        assert part is not None
        before = _resident("VmRSS")
        CLEAR.write_text("5", encoding="ascii")  # proc(5): resets VmHWM
        for _ in range(RUNS):
            part.once()
        return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(kilobytes)


def main(workload: str, name: str) -> None:
    from glassnet.bench.workloads import WORKLOADS, engine_named

    (task,) = WORKLOADS[workload].tasks()
    assert isinstance(task, Training)
    print(measure(task, engine_named(name)))


if __name__ == "__main__":
    main(*sys.argv[1:])
