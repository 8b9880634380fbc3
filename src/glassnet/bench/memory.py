"""Peak memory of a workload, measured for each backend in a fresh process of its own.

The process runs the workload with two images first, which loads the code that is loaded late. Then it prepares the
whole batch, reads its resident memory, resets Linux's record of the peak, runs twice and reads the peak. The
difference is the memory beyond weights and batch: activations, columns, gradients and the optimizer's state.
"""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from glassnet.bench.backends import Backend
from glassnet.bench.workloads import Workload
from glassnet.errors import GlassnetError

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(workload: Workload, backend: Backend) -> int | None:
    """Return the bytes that a workload takes in a process of its own; None if the system does not measure them.

    :raises GlassnetError: if the process fails.
    """
    if not CLEAR.exists():
        return None
    command = [sys.executable, "-m", "glassnet.bench.memory"]
    process = subprocess.run(command, input=pickle.dumps((workload, backend)), capture_output=True, check=False)
    if process.returncode:
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        raise GlassnetError(f"Peak memory cannot be measured for {backend.name} in {workload.title!r}: {reason}")
    return int(process.stdout)


def measure_growth(workload: Workload, backend: Backend) -> int:
    """Return the bytes that a workload takes in this process, which must be fresh."""
    with backend.thread_limits():
        backend.prepare(replace(workload, batch_size=2)).run_once()
        gc.collect()
        task = backend.prepare(workload)
        before = _resident("VmRSS")
        CLEAR.write_text("5", encoding="ascii")  # proc(5): resets VmHWM
        for _ in range(2):
            task.run_once()
        return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(kilobytes)


if __name__ == "__main__":
    print(measure_growth(*pickle.load(sys.stdin.buffer)))
