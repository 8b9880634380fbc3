"""Several windows side by side, taken as one wide window: longer runs of memory, and wider matrices.

::

      row of an image    | x0 x1 x2 x3 |          r = 2 windows of 3 pixels, stride 1:
                                                  window 0 covers x0 x1 x2, window 1 covers x1 x2 x3
                             | k0   0 |
                             | k1  k0 |           the matrix has the kernel r times, each one stride further down,
      | y0 y1 | = | x .. 1 |·| k2  k1 |           and zeros elsewhere: more to multiply, but r times fewer runs of
                             |  0  k2 |           memory to copy, and a product wide enough for the processor's vectors
                             |  b   b |           the bias is one more row, with a column of ones behind the x

The zeros are multiplied, too: an infinite or NaN pixel also reaches the outputs of the other windows, as NaN.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.nn.kernels.array_pool import ALIGNMENT, aligned_empty
from glassnet.nn.kernels.window import SlidingWindow
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]

WINDOWS_PER_BAND = (4, 2)  # r, the largest first
MAX_BAND_OUTPUTS = 32  # outputs of all windows of a wide window


@dataclass(frozen=True, eq=False)
class WideWindow:
    """Windows side by side on images of one size, taken as one window over a longer run of pixels."""

    window: SlidingWindow
    size: tuple[int, int]  # of the images
    channels: int
    outputs: int  # of each window
    has_bias: bool = False  # the columns end in ones, which multiply it

    @cached_property
    def output_size(self) -> tuple[int, int]:
        return self.window.output_size(self.size)

    @cached_property
    def windows(self) -> int:
        """The number of windows r."""
        width = self.output_size[1]
        return next((r for r in WINDOWS_PER_BAND if width % r == 0 and r * self.outputs <= MAX_BAND_OUTPUTS), 1)

    @cached_property
    def row_span(self) -> int:
        """The number of pixels of an image row that its windows cover."""
        reach = self.window.dilation[1] * (self.window.kernel_size[1] - 1) + 1
        return reach + self.window.stride[1] * (self.windows - 1)

    @cached_property
    def columns(self) -> int:
        """The length of a row of ``im2col``: the numbers that lie under it, and the one."""
        return self.window.kernel_size[0] * self.row_span * self.channels + self.has_bias

    @cached_property
    def matrix_key(self) -> Hashable:
        """All that says where a kernel is written in the matrix: everything but the size of the images."""
        return self.window, self.row_span, self.windows, self.channels, self.outputs, self.has_bias

    @cached_property
    def image_columns(self) -> int:
        """The number of elements in all columns of one image."""
        return prod(self.output_size) // self.windows * self.columns

    def im2col(self, x: Array, workspace: Workspace) -> Array:
        """Return the numbers under each wide window, and the one, as a row: (n, H, W, C) -> (n·Ho·Wo/r, columns)."""
        if self.window.has_padding:
            key = (self, len(x), x.dtype)
            inside, segments, columns, matrix = workspace.cached_views(key, lambda: self._padded_views(x, workspace))
            inside[...] = x
        else:
            segments, columns, matrix = self._column_views(x, workspace)
        np.copyto(columns, segments)
        if self.has_bias:
            matrix[:, -1] = 1
        return matrix

    def _padded_views(self, x: Array, workspace: Workspace) -> tuple[Array, Array, Array, Array]:
        """Return the view of the images inside their border, and the ``_column_views``."""
        padded = workspace.padded_buffer(x.shape, self.window.padding, 0, x.dtype)
        return self.window.unpad(padded, self.size), *self._column_views(padded, workspace)

    def _column_views(self, padded: Array, workspace: Workspace) -> tuple[Array, Array, Array]:
        """Return the runs of memory under each wide window, and where to copy them, as runs and as a matrix."""
        segments = self.window.row_segments(padded, self.output_size, self.windows, self.row_span)
        row_bytes = -(-self.columns * padded.itemsize // ALIGNMENT) * ALIGNMENT  # each row begins a line of the cache
        rows = workspace.empty("columns", (*segments.shape[:3], row_bytes), np.uint8)
        columns = rows[..., : segments.shape[3] * segments.itemsize].view(segments.dtype)
        return segments, columns, rows.reshape(-1, row_bytes).view(padded.dtype)[:, : self.columns]

    def matrix(self, kernel: Array, bias: Array | None, workspace: Workspace) -> Array:
        """Return the kernel (O, kh, kw, C) and the bias, written once for each window: (columns, r·O).

        The next kernel with the same ``matrix_key`` overwrites it.
        """
        key = self.matrix_key, kernel.dtype
        kernels, last_row, matrix = workspace.cached_views(key, lambda: self._blank_matrix(kernel.dtype))
        kernels[...] = kernel.transpose(1, 2, 3, 0)[:, :, :, None]
        if bias is not None:
            last_row[...] = bias
        return matrix

    def _blank_matrix(self, dtype: DTypeLike) -> tuple[Array, Array, Array]:
        """Return the views of a kernel and of a bias in a matrix of zeros, and the matrix."""
        matrix = aligned_empty((self.columns, self.windows * self.outputs), dtype)
        matrix.fill(0)
        return self._kernel_view(matrix), matrix[-1].reshape(self.windows, self.outputs), matrix

    def kernel(self, matrix: Array) -> Array:
        """Return the sum of a matrix over all places of the kernel, (O, kh, kw, C): the transpose of ``matrix``."""
        kernel: Array = self._kernel_view(matrix).sum(axis=3).transpose(3, 0, 1, 2)
        return kernel

    def _kernel_view(self, matrix: Array) -> Array:
        """Return the view (kh, kw, C, r, O) of the places where each window has its kernel: along a diagonal."""
        (kh, kw), C, O = self.window.kernel_size, self.channels, self.outputs
        number = matrix.itemsize
        channel = self.windows * O * number  # from one row of the matrix to the next
        pixel, image_row = C * channel, self.row_span * C * channel
        next_window = self.window.stride[1] * pixel + O * number
        strides = (image_row, self.window.dilation[1] * pixel, channel, next_window, number)
        return np.ndarray((kh, kw, C, self.windows, O), matrix.dtype, matrix, strides=strides)


wide_window = cache(WideWindow)  # the same few at each step; workspaces know them by identity
