"""Convolution at the speed of the machine: what ``convolution`` defines, in another order of sums.

Three things make it quick, none of which changes what is computed:

- *Blocks.* The columns of a few pictures at a time are still in the cache when they are multiplied, and threads share
  the blocks (``parallel``).
- *Bands.* Where there are few channels, r windows side by side are taken as one wide window. Its r outputs are one
  row of a product with the kernel written r times, each time one stride further on, zeros elsewhere: somewhat more to
  multiply, but r times fewer pieces of memory to copy, and matrices wide enough for the processor's vectors. The bias
  is one more row of that kernel, and a column of ones.
- *Small products.* BLAS packs large matrices before it multiplies them; OpenBLAS spares small ones that
  (m·n·k ≤ 100³), so the rows of a block are multiplied a batch of a few rows at a time.

Arrays here are (N, H, W, C) and kernels (O, kh, kw, C). The zeros of a band are multiplied, too: an infinite or NaN
pixel also reaches the outputs of the band's other windows, as NaN.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.nn.memory import ALIGNMENT, aligned
from glassnet.nn.parallel import Workers
from glassnet.nn.scratch import Scratch
from glassnet.nn.window import Window

Array = NDArray[Any]

WIDTHS = (4, 2)  # windows in a band, the most first
BAND_OUTPUTS = 32  # numbers that all its windows make, at most
SMALL_PRODUCT = 950_000  # multiply-adds; OpenBLAS's own bound is 100³


@dataclass(frozen=True, eq=False)
class Band:
    """Windows side by side on pictures of one size, taken as one window over a longer run of pixels."""

    window: Window
    size: tuple[int, int]  # of the pictures
    channels: int
    outputs: int  # numbers that each window makes
    has_ones: bool = False  # in a last column, which multiplies the bias

    @cached_property
    def output_size(self) -> tuple[int, int]:
        return self.window.output_size(self.size)

    @cached_property
    def width(self) -> int:
        """How many windows."""
        fitting = (r for r in WIDTHS if self.output_size[1] % r == 0 and r * self.outputs <= BAND_OUTPUTS)
        return next(fitting, 1)

    @cached_property
    def run(self) -> int:
        """The pixels of a line that its windows cover."""
        reach = self.window.dilation[1] * (self.window.kernel_size[1] - 1) + 1
        return reach + self.window.stride[1] * (self.width - 1)

    @cached_property
    def columns(self) -> int:
        """The numbers that lie under it, and the one."""
        return self.window.kernel_size[0] * self.run * self.channels + self.has_ones

    @cached_property
    def places(self) -> Hashable:
        """What says where a kernel is written: all but the size of the pictures."""
        return self.window, self.run, self.width, self.channels, self.outputs, self.has_ones

    @cached_property
    def picture_columns(self) -> int:
        """The numbers in all columns of one picture."""
        return prod(self.output_size) // self.width * self.columns

    def im2col(self, x: Array, scratch: Scratch) -> Array:
        """The numbers under each band, and the one, as a row: x (n, H, W, C) -> (n·Ho·Wo/width, columns)."""
        if self.window.has_padding:
            key = (self, len(x), x.dtype)
            inside, runs, columns, matrix = scratch.views(key, lambda: self._views(x, scratch))
            inside[...] = x
        else:
            runs, columns, matrix = self._runs(x, scratch)
        np.copyto(columns, runs)
        if self.has_ones:
            matrix[:, -1] = 1
        return matrix

    def _views(self, x: Array, scratch: Scratch) -> tuple[Array, Array, Array, Array]:
        """The picture inside its border, and its ``_runs``."""
        padded = scratch.bordered(x.shape, self.window.padding, 0, x.dtype)
        return self.window.crop(padded, self.size), *self._runs(padded, scratch)

    def _runs(self, padded: Array, scratch: Scratch) -> tuple[Array, Array, Array]:
        """The runs of memory under each band, and the columns that they become, as runs and as a matrix."""
        runs = self.window.runs(padded, self.output_size, self.width, self.run)
        line = -(-self.columns * padded.itemsize // ALIGNMENT) * ALIGNMENT  # bytes of a row: each begins a cache line
        rows = scratch.empty("columns", (*runs.shape[:3], line), np.uint8)
        columns = rows[..., : runs.shape[3] * runs.itemsize].view(runs.dtype)
        return runs, columns, rows.reshape(-1, line).view(padded.dtype)[:, : self.columns]

    def matrix(self, weight: Array, bias: Array | None, scratch: Scratch) -> Array:
        """The kernel (O, kh, kw, C), and the bias, written once for each window: (columns, width·O). The next kernel of
        this form overwrites it."""
        written, last, matrix = scratch.views((self.places, weight.dtype), lambda: self._blank(weight.dtype))
        written[...] = weight.transpose(1, 2, 3, 0)[:, :, :, None]
        if bias is not None:
            last[...] = bias
        return matrix

    def _blank(self, dtype: DTypeLike) -> tuple[Array, Array, Array]:
        """Where to write a kernel and a bias, in the matrix of zeros that is around them."""
        matrix = aligned((self.columns, self.width * self.outputs), dtype)
        matrix.fill(0)
        return self._written(matrix), matrix[-1].reshape(self.width, self.outputs), matrix

    def kernel(self, matrix: Array) -> Array:
        """The transpose of ``matrix``: all that was summed where the kernel is written, (O, kh, kw, C)."""
        kernel: Array = self._written(matrix).sum(axis=3).transpose(3, 0, 1, 2)
        return kernel

    def _written(self, matrix: Array) -> Array:
        """Where in the matrix each window has its kernel, a view (kh, kw, C, width, O): along a diagonal."""
        (kh, kw), C, O = self.window.kernel_size, self.channels, self.outputs  # noqa: E741
        number = matrix.itemsize
        channel = self.width * O * number  # from one row of the matrix to the next
        pixel, line = C * channel, self.run * C * channel
        next_window = self.window.stride[1] * pixel + O * number
        strides = (line, self.window.dilation[1] * pixel, channel, next_window, number)
        return np.ndarray((kh, kw, C, self.width, O), matrix.dtype, matrix, strides=strides)


band_of = cache(Band)  # a training asks for the same few at each step; scratch knows them by identity


def correlate(x: Array, weight: Array, bias: Array | None, window: Window, workers: Workers) -> Array:
    """``convolution.correlate``: (N, H, W, C) -> (N, Ho, Wo, O)."""
    band = band_of(window, x.shape[1:3], x.shape[3], len(weight), bias is not None)
    matrix = band.matrix(weight, bias, workers.scratches[0])
    y = workers.empty((len(x), *band.output_size, len(weight)), x.dtype)

    def work(part: slice, scratch: Scratch) -> None:
        _product(band.im2col(x[part], scratch), matrix, y[part].reshape(-1, matrix.shape[1]))

    workers.map(work, len(x), band.picture_columns * x.itemsize)
    return y


def gradients(x: Array, dy: Array, weight: Array, window: Window, workers: Workers) -> tuple[Array, Array]:
    """``convolution.gradients``: of x and of the kernel.

    With stride 1 dx is the correlation of dy with the turned kernel, and the columns of dy that it needs give the
    kernel's gradient, too: dw[o,u,v,c] = Σ x[n,p,q,c] · dy[n, p − d·u, q − d·v, o], over the padded picture.
    """
    turned = window.turned
    if turned is None:
        return _scattered(dy, weight, window, x.shape, workers), kernel_gradient(x, dy, window, workers)
    band = band_of(turned, dy.shape[1:3], dy.shape[3], x.shape[3])
    matrix = band.matrix(weight[:, ::-1, ::-1].transpose(3, 1, 2, 0), None, workers.scratches[0])
    dx = workers.empty(x.shape, x.dtype)

    def work(part: slice, scratch: Scratch) -> Array:
        columns = band.im2col(dy[part], scratch)
        _product(columns, matrix, dx[part].reshape(-1, matrix.shape[1]))
        return _sum_of_products(columns, x[part].reshape(-1, matrix.shape[1]))

    turned_kernel = band.kernel(workers.sum(work, len(x), band.picture_columns * x.itemsize))  # (C, kh, kw, O)
    return dx, turned_kernel[:, ::-1, ::-1].transpose(3, 1, 2, 0)


def kernel_gradient(x: Array, dy: Array, window: Window, workers: Workers) -> Array:
    """The second of ``gradients`` alone: (O, kh, kw, C)."""
    band = band_of(window, x.shape[1:3], x.shape[3], dy.shape[3])

    def work(part: slice, scratch: Scratch) -> Array:
        columns = band.im2col(x[part], scratch)
        return _sum_of_products(columns, dy[part].reshape(-1, band.width * band.outputs))

    return band.kernel(workers.sum(work, len(x), band.picture_columns * x.itemsize))


def _scattered(dy: Array, weight: Array, window: Window, shape: tuple[int, ...], workers: Workers) -> Array:
    """dx with strides: each row of the columns' gradient is added back to the pixels that it came from."""
    N, H, W, C = shape
    kernel = weight.reshape(len(weight), -1)
    dx = workers.empty(shape, dy.dtype)

    def work(part: slice, scratch: Scratch) -> None:
        pixels = dy[part].reshape(-1, len(weight))
        dcolumns = scratch.empty("columns", (len(pixels), kernel.shape[1]), dy.dtype)
        _product(pixels, kernel, dcolumns)
        places = dcolumns.reshape(*dy[part].shape[:3], *window.kernel_size, C)
        padded = window.padded_zeros((len(places), H, W, C), dy.dtype)
        taps = window.taps(padded, dy.shape[1:3])
        for i, j in np.ndindex(window.kernel_size):
            taps[i, j] += places[:, :, :, i, j]
        dx[part] = window.crop(padded, (H, W))

    workers.map(work, N, prod(dy.shape[1:3]) * kernel.shape[1] * dy.itemsize)
    return dx


def _small_rows(matrix: tuple[int, int]) -> int:
    """How many rows at a time make a small product with a matrix of this shape: a power of two; 0 if not even 16 do."""
    rows = SMALL_PRODUCT // prod(matrix)
    return 1 << (rows.bit_length() - 1) if rows >= 16 else 0


def _product(a: Array, b: Array, out: Array) -> None:
    """out = a b, as small products where that is possible."""
    rows = _small_rows(b.shape)
    whole = rows and len(a) // rows * rows
    if whole:
        np.matmul(a[:whole].reshape(-1, rows, a.shape[1]), b, out=out[:whole].reshape(-1, rows, out.shape[1]))
    if whole < len(a):
        np.matmul(a[whole:], b, out=out[whole:])


def _sum_of_products(a: Array, b: Array) -> Array:
    """aᵀ b, where both have many rows: the sum of small products, unless those would be larger than what they sum."""
    rows = _small_rows((a.shape[1], b.shape[1]))
    if rows < 2 * b.shape[1] or len(a) < 2 * rows:
        return np.asarray(a.T @ b)
    whole = len(a) // rows * rows
    batches = a[:whole].reshape(-1, rows, a.shape[1]).transpose(0, 2, 1)
    total: Array = np.matmul(batches, b[:whole].reshape(-1, rows, b.shape[1])).sum(axis=0)
    return total if whole == len(a) else total + a[whole:].T @ b[whole:]
