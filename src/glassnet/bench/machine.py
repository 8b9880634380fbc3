"""The machine: what it is, and the two ceilings that its speed has."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

GEMM_SIZE = 2048  # of square float32 matrices: large enough for BLAS's best
COPY_BYTES = 1 << 27  # a thread's array, larger than most caches
TRIES = 7  # of which the best counts: a ceiling is what was reached once


@dataclass(frozen=True)
class Machine:
    """What measurements were taken on, and with what.

    ``gemm_peak`` is the speed of a large float32 matrix product in NumPy, in FLOP/s, on one core and on all;
    ``bandwidth`` that of copying memory on all cores, in bytes read or written per second.
    """

    processor: str
    cores: int
    system: str
    versions: dict[str, str | None]  # of Python, NumPy, its BLAS, PyTorch (None: not there) and glassnet
    gemm_peak_1: float
    gemm_peak: float
    bandwidth: float


def look(cores: int) -> Machine:
    """Describe this machine and measure its ceilings; takes about a second."""
    one = _gemm_peak(1)
    return Machine(
        processor=_processor(),
        cores=cores,
        system=platform.platform(),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "blas": _blas(),
            "torch": _version("torch"),
            "glassnet": _version("glassnet"),
        },
        gemm_peak_1=one,
        gemm_peak=max(one, _gemm_peak(cores)),  # other work on the machine can make a single core the quicker way
        bandwidth=_bandwidth(cores),
    )


def _gemm_peak(threads: int) -> float:
    size = GEMM_SIZE
    a, b = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    out = np.empty_like(a)
    with threadpool_limits(threads, user_api="blas"):
        return 2 * size**3 / _best(lambda: np.matmul(a, b, out=out))


def _bandwidth(threads: int) -> float:
    pairs = [(np.ones(COPY_BYTES, np.uint8), np.ones(COPY_BYTES, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return 2 * COPY_BYTES * threads / _best(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)))


def _best(action: Any) -> float:
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        action()
        seconds.append(perf_counter() - start)
    return min(seconds)


def _processor() -> str:
    """Its name, where the system tells one."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _blas() -> str | None:
    """NumPy's BLAS: its name, version and the kernels that it chose for this processor."""
    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            words = (library["internal_api"], library["version"], library.get("architecture"))
            return " ".join(word for word in words if word)
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
