"""The way to a fast convolution in NumPy, in four steps; docs/fast-numpy.md walks it.

All compute the same: stride 1, an odd kernel k, a border of k // 2 zeros, so that images keep their size. From the
third step on images are (N, H, W, C) and weights (O, k, k, C).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from glassnet.bench.clock import Clock, Passes
from glassnet.bench.contenders import Contender, Part, blas_threads
from glassnet.bench.tasks import Layer
from glassnet.verify import naive_convolution
from glassnet.verify.yardstick import im2col

Array = NDArray[Any]


def loops(x: Array, weight: Array) -> Array:
    """The definition: x (N, C, H, W), weight (O, C, k, k) -> (N, O, H, W)."""
    return naive_convolution.convolution(x, weight, padding=weight.shape[2] // 2)


def one_product(x: Array, weight: Array) -> Array:
    """Every neighbourhood as a row, so that one matrix product does all sums: shapes as those of ``loops``."""
    N, _, H, W = x.shape
    out_channels, _, k, _ = weight.shape
    columns = im2col(x, k, stride=1, padding=k // 2)  # (N·H·W, C·k·k)
    y = columns @ weight.reshape(out_channels, -1).T
    return y.reshape(N, H, W, out_channels).transpose(0, 3, 1, 2)


def channels_last(x: Array, weight: Array) -> Array:
    """The same with a pixel's channels side by side: x (N, H, W, C), weight (O, k, k, C) -> (N, H, W, O)."""
    N, H, W, C = x.shape
    out_channels, k, _, _ = weight.shape
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    lines = padded.reshape(N, H + k - 1, -1)  # the numbers of a line of pixels
    runs = sliding_window_view(lines, k * C, axis=2)[:, :, ::C]  # (N, H + k − 1, W, k·C), without copying
    columns = np.empty((N, H, W, k, k * C), x.dtype)
    for u in range(k):
        columns[:, :, :, u] = runs[:, u : u + H]
    y: Array = columns.reshape(N * H * W, -1) @ weight.reshape(out_channels, -1).T
    return y.reshape(N, H, W, out_channels)


def blocks(x: Array, weight: Array, images: int = 4, threads: int = 2) -> Array:
    """The same, a few images at a time, in threads that each take the next block: BLAS is to use one thread."""
    y = np.empty((*x.shape[:3], len(weight)), x.dtype)

    def compute(start: int) -> None:
        block = slice(start, start + images)
        y[block] = channels_last(x[block], weight)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compute, range(0, len(x), images)))
    return y


class Step(Contender):
    """One of the steps, as a contender: its function, with so many threads.

    ``loops`` computes one image, and its time is taken as many times as there are images.
    """

    def __init__(self, engine: str, function: Callable[..., Array], threads: int) -> None:
        super().__init__(threads)
        self.engine, self.function = engine, function

    def at_work(self) -> AbstractContextManager[None]:
        return blas_threads(1 if self.function is blocks else self.threads)

    def layer(self, task: Layer, dtype: str) -> Part:
        x, weight = task.arrays(dtype)[0], task.state()["weight"].astype(dtype)
        counted = 1
        if self.function is loops:
            counted, x = len(x), x[:1]
        is_nchw = self.function in (loops, one_product)
        if not is_nchw:
            x, weight = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, weight))
        options = {"threads": self.threads} if self.function is blocks else {}
        clock = Clock()
        seen: list[Array] = []

        def once() -> Passes:
            seen.clear()
            clock.start()
            seen.append(self.function(x, weight, **options))
            clock.lap("forward")
            return {name: counted * seconds for name, seconds in clock.seconds.items()}

        return Part(self.at_work, once, lambda: {"y": seen[0] if is_nchw else seen[0].transpose(0, 3, 1, 2)})


def steps(cores: int) -> list[Contender]:
    """The four, each with as many threads as can help it."""
    return [
        Step("loops", loops, 1),
        Step("im2col", one_product, cores),
        Step("channels-last", channels_last, cores),
        Step("blocks and threads", blocks, cores),
    ]
