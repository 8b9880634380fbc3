"""The steps from loops to a fast convolution, timed beside the engine's and PyTorch's; docs/fast-numpy.md walks them.

    python benchmarks/convolution_steps.py [--write]

The task is the 16→16 convolution of ResNet-20 on 128 images of 32×32, forward: stride 1, an odd kernel k, a border of
k // 2 zeros. The loops and ``one_product`` take images (N, C, H, W) and weights (O, C, k, k), the later steps
(N, H, W, C) and (O, k, k, C). All are checked to compute the same, then timed in turn. Prints the table, and with
``--write`` replaces the one in docs/fast-numpy.md.
"""

from __future__ import annotations

import re
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import matrix_product_peak
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from glassnet import nn
from glassnet.bench.machine import describe_machine
from glassnet.bench.timing import TimedTask, time_interleaved
from glassnet.bench.torch_backend import TorchBackend
from glassnet.nn.kernels import Kernels
from glassnet.nn.kernels.array_pool import ArrayPool
from glassnet.resources import usable_cores
from glassnet.verify.naive_convolution import convolution

Array = NDArray[Any]

PAGE = Path(__file__).parents[1] / "docs" / "fast-numpy.md"
BEGIN, END = "<!-- written by benchmarks/convolution_steps.py -->\n", "<!-- end -->"
SHAPE, OUT_CHANNELS, KERNEL_SIZE = (128, 16, 32, 32), 16, 3
ROUNDS = 7


def im2col(x: Array, k: int) -> Array:
    N, C, H, W = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    columns = np.empty((N, C, k, k, H, W), x.dtype)
    for u in range(k):
        for v in range(k):
            columns[:, :, u, v] = padded[:, :, u : u + H, v : v + W]
    return columns.transpose(0, 4, 5, 1, 2, 3).reshape(N * H * W, -1)


def one_product(x: Array, weight: Array) -> Array:
    N, _, H, W = x.shape
    out_channels, _, k, _ = weight.shape
    columns = im2col(x, k)  # (N·H·W, C·k·k)
    y = columns @ weight.reshape(out_channels, -1).T
    return y.reshape(N, H, W, out_channels).transpose(0, 3, 1, 2)


def channels_last(x: Array, weight: Array) -> Array:
    N, H, W, C = x.shape
    out_channels, k, _, _ = weight.shape
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    rows = padded.reshape(N, H + k - 1, -1)  # the values of a row of pixels
    segments = sliding_window_view(rows, k * C, axis=2)[:, :, ::C]  # (N, H + k − 1, W, k·C), without copying
    columns = np.empty((N, H, W, k, k * C), x.dtype)
    for u in range(k):
        columns[:, :, :, u] = segments[:, u : u + H]
    y = columns.reshape(N * H * W, -1) @ weight.reshape(out_channels, -1).T
    return y.reshape(N, H, W, out_channels)


def blocks(x: Array, weight: Array, images: int = 4, threads: int = 2) -> Array:
    y = np.empty((*x.shape[:3], len(weight)), x.dtype)

    def compute_block(start: int) -> None:
        block = slice(start, start + images)
        y[block] = channels_last(x[block], weight)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compute_block, range(0, len(x), images)))
    return y


def prepare(x: Array, weight: Array, threads: int) -> dict[str, TimedTask]:
    """Return every step as a task that computes y (N, O, H, W); the loops compute only y[:1], on one thread."""
    nhwc, kernel = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, weight))
    k = weight.shape[2]
    layer = nn.Conv2d(x.shape[1], len(weight), k, padding=k // 2, bias=False, dtype=x.dtype)
    layer.load_state_dict({"weight": weight})
    layer.use_kernels(Kernels(threads, ArrayPool()))
    nhwc_view = nhwc.transpose(0, 3, 1, 2)
    tensors = [torch.from_numpy(array).contiguous(memory_format=torch.channels_last) for array in (x, weight)]

    def one() -> Any:
        return threadpool_limits(1, user_api="blas")

    def several() -> Any:
        return threadpool_limits(threads, user_api="blas")

    runs = {
        "loops, on one core": (one, lambda: convolution(x[:1], weight, padding=k // 2)),
        "im2col": (several, lambda: one_product(x, weight)),
        "channels-last": (several, lambda: channels_last(nhwc, kernel).transpose(0, 3, 1, 2)),
        "blocks and threads": (one, lambda: blocks(nhwc, kernel, threads=threads).transpose(0, 3, 1, 2)),
        "glassnet": (one, lambda: layer(nhwc_view)),
        "PyTorch, channels-last": (
            TorchBackend(threads).thread_limits,
            lambda: torch.nn.functional.conv2d(*tensors, padding=k // 2).numpy(),
        ),
    }
    return {name: TimedTask(limits, run, dict) for name, (limits, run) in runs.items()}


def check_equal(tasks: dict[str, TimedTask]) -> None:
    """Raise AssertionError if a step computes another convolution than the loops."""
    expected = next(iter(tasks.values())).run_once()
    for name, task in tasks.items():
        np.testing.assert_allclose(task.run_once()[:1], expected, rtol=0, atol=1e-9, err_msg=name)


def measure(rounds: int = ROUNDS) -> list[str]:
    """Return the rows of the table in Markdown, and a sentence about machine and versions."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE)
    weight = rng.standard_normal((OUT_CHANNELS, SHAPE[1], KERNEL_SIZE, KERNEL_SIZE)) / 12
    threads = usable_cores()
    check_equal(prepare(x[:4], weight, threads))
    tasks = prepare(x.astype(np.float32), weight.astype(np.float32), threads)
    times = {name: statistics.median(values) for name, values in time_interleaved(tasks, rounds).items()}
    times["loops, on one core"] *= len(x)
    flops = 2 * x.size * OUT_CHANNELS * KERNEL_SIZE**2
    peak = matrix_product_peak(threads)
    machine = describe_machine()
    return [
        "| on all cores | a batch | GFLOP/s | of the machine's matrix product | as fast as the loops |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_number(1e3 * seconds)} ms | {_number(flops / seconds / 1e9)} | "
            f"{_number(100 * flops / seconds / peak)} % | {_number(times['loops, on one core'] / seconds)}× |"
            for name, seconds in times.items()
        ),
        "",
        f"{machine['cores']} cores of {machine['processor']}, NumPy {machine['numpy']}, PyTorch {machine['torch']}, "
        f"medians of {rounds} rounds.",
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def with_table(page: str, lines: list[str]) -> str:
    """Return the page with its table replaced."""
    table = "\n".join(lines) + "\n"
    return re.sub(f"({BEGIN}).*?({END})", lambda match: match[1] + table + match[2], page, flags=re.DOTALL)


def main(*arguments: str) -> None:
    lines = measure()
    print("\n".join(lines))
    if "--write" in arguments:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
