"""The limits of the machine's speed: the largest matrix product and memory copies, each the best of several tries.

python benchmarks/machine_peak.py
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from glassnet.bench.machine import describe_machine
from glassnet.resources import usable_cores

GEMM_SIZE = 2048  # square float32 matrices that are large enough for BLAS's best
COPY_BYTES = 1 << 27  # of each thread's array: larger than most caches
TRIES = 7


def matrix_product_peak(threads: int) -> float:
    """Return FLOP/s of a large float32 matrix product in NumPy."""
    a, b = np.random.default_rng(0).standard_normal((2, GEMM_SIZE, GEMM_SIZE), np.float32)
    out = np.empty_like(a)
    with threadpool_limits(threads, user_api="blas"):
        return 2 * GEMM_SIZE**3 / shortest(lambda: np.matmul(a, b, out=out))


def copy_bandwidth(threads: int) -> float:
    """Return the bytes a second that are read or written when every thread copies an array."""
    pairs = [(np.ones(COPY_BYTES, np.uint8), np.ones(COPY_BYTES, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = shortest(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)))
    return 2 * COPY_BYTES * threads / seconds


def shortest(action: Callable[[], object]) -> float:
    """Return the seconds of the fastest of several tries."""
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        action()
        seconds.append(perf_counter() - start)
    return min(seconds)


def main() -> None:
    for name, value in describe_machine().items():
        print(f"{name}: {value}")
    for threads in sorted({1, usable_cores()}):
        print(
            f"threads {threads}: matrix product {matrix_product_peak(threads) / 1e9:.0f} GFLOP/s, "
            f"copying {copy_bandwidth(threads) / 1e9:.1f} GB/s"
        )


if __name__ == "__main__":
    main()
