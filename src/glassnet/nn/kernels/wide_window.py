"""Several adjacent windows, computed as one wide window: longer runs of memory, and wider matrices.

::

      row of an image    | x0 x1 x2 x3 |          a wide window of r = 2 windows of 3 pixels, stride 1:
                                                  window 0 covers x0 x1 x2, window 1 covers x1 x2 x3
                             | k0   0 |
                             | k1  k0 |           the matrix has the kernel r times, each one stride further down,
      | y0 y1 | = | x .. 1 |·| k2  k1 |           and zeros elsewhere: more to multiply, but r times fewer runs of
                             |  0  k2 |           memory to copy, and a product wide enough for the processor's vectors
                             |  b   b |           the bias is one more row; the 1 after the pixels multiplies it

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

WINDOWS_PER_WIDE_WINDOW = (4, 2)  # values of r to try, the largest first
MAX_WIDE_OUTPUTS = 32  # r·O: with more outputs, a product is wide enough with fewer windows


@dataclass(frozen=True, eq=False)
class WideWindow:
    """Adjacent windows on images of one size, computed as one window over a longer run of pixels."""

    window: SlidingWindow
    size: tuple[int, int]  # of the images
    channels: int
    outputs: int  # output channels O
    has_bias: bool = False  # then each row of im2col ends in a 1, which multiplies the bias

    @cached_property
    def output_size(self) -> tuple[int, int]:
        return self.window.output_size(self.size)

    @cached_property
    def windows(self) -> int:
        """The number r of windows in a wide window."""
        width = self.output_size[1]
        return next((r for r in WINDOWS_PER_WIDE_WINDOW if width % r == 0 and r * self.outputs <= MAX_WIDE_OUTPUTS), 1)

    @cached_property
    def row_span(self) -> int:
        """The number of pixels of an image row that a wide window covers."""
        reach = self.window.dilation[1] * (self.window.kernel_size[1] - 1) + 1
        return reach + self.window.stride[1] * (self.windows - 1)

    @cached_property
    def row_length(self) -> int:
        """The length of a row of ``im2col``: the pixel values of a wide window, and a 1 if there is a bias."""
        return self.window.kernel_size[0] * self.row_span * self.channels + self.has_bias

    @cached_property
    def matrix_key(self) -> Hashable:
        """The cache key of the kernel's matrix: everything that its layout depends on."""
        return self.window, self.row_span, self.windows, self.channels, self.outputs, self.has_bias

    @cached_property
    def elements_per_image(self) -> int:
        """The number of elements in the rows of ``im2col`` that belong to one image."""
        return prod(self.output_size) // self.windows * self.row_length

    def im2col(self, x: Array, workspace: Workspace) -> Array:
        """Return the pixels of each wide window, then a 1 if there is a bias, as a row of a matrix.

        (N, H, W, C) -> (N·Ho·Wo/r, row_length). The result is in the workspace, and the next call overwrites it.
        """
        if self.window.has_padding:
            key = (self, len(x), x.dtype)
            inside, segments, copies, patches = workspace.cached_views(key, lambda: self._padded_views(x, workspace))
            inside[...] = x
        else:
            segments, copies, patches = self._patch_views(x, workspace)
        np.copyto(copies, segments)
        if self.has_bias:
            patches[:, -1] = 1
        return patches

    def _padded_views(self, x: Array, workspace: Workspace) -> tuple[Array, Array, Array, Array]:
        """Return the view of the images inside their border, and the ``_patch_views``."""
        padded = workspace.padded_buffer(x.shape, self.window.padding, 0, x.dtype)
        return self.window.unpad(padded, self.size), *self._patch_views(padded, workspace)

    def _patch_views(self, padded: Array, workspace: Workspace) -> tuple[Array, Array, Array]:
        """Return the runs of memory of each wide window, and two views of their copies: as runs, and as a matrix.

        A row of the matrix begins at a cache line, so its memory may be a little longer than ``row_length``.
        """
        segments = self.window.row_segments(padded, self.output_size, self.windows, self.row_span)
        row_bytes = -(-self.row_length * padded.itemsize // ALIGNMENT) * ALIGNMENT
        rows = workspace.empty("patches", (*segments.shape[:3], row_bytes), np.uint8)
        copies = rows[..., : segments.shape[3] * segments.itemsize].view(segments.dtype)
        return segments, copies, rows.reshape(-1, row_bytes).view(padded.dtype)[:, : self.row_length]

    def matrix(self, kernel: Array, bias: Array | None, workspace: Workspace) -> Array:
        """Return the matrix (row_length, r·O) with the kernel (O, kh, kw, C) and the bias (O,), once for each window.

        It is in the workspace, and the next kernel with the same ``matrix_key`` overwrites it. Its zeros are written
        once: every kernel of this layout fills the same other elements.
        """
        key = self.matrix_key, kernel.dtype
        kernels, last_row, matrix = workspace.cached_views(key, lambda: self._blank_matrix(kernel.dtype))
        kernels[...] = kernel.transpose(1, 2, 3, 0)[:, :, :, None]
        if bias is not None:
            last_row[...] = bias
        return matrix

    def _blank_matrix(self, dtype: DTypeLike) -> tuple[Array, Array, Array]:
        """Return the views of a kernel and of a bias in a matrix of zeros, and the matrix."""
        matrix = aligned_empty((self.row_length, self.windows * self.outputs), dtype)
        matrix.fill(0)
        return self._kernel_view(matrix), matrix[-1].reshape(self.windows, self.outputs), matrix

    def kernel(self, matrix: Array) -> Array:
        """Return the sum of a matrix's r copies of the kernel, (O, kh, kw, C): the backward pass of ``matrix``."""
        kernel: Array = self._kernel_view(matrix).sum(axis=3).transpose(3, 0, 1, 2)
        return kernel

    def _kernel_view(self, matrix: Array) -> Array:
        """Return the view (kh, kw, C, r, O) of the elements that are a kernel's: its copies lie along a diagonal.

        A row of the matrix belongs to one channel of one pixel of the wide window, a column to one output of one of the
        r windows. A stride is the number of bytes between two elements whose index differs by one on that axis.
        """
        (kh, kw), C, O = self.window.kernel_size, self.channels, self.outputs
        element = matrix.itemsize
        channel = self.windows * O * element  # one row of the matrix down
        pixel, image_row = C * channel, self.row_span * C * channel
        next_window = self.window.stride[1] * pixel + O * element  # down by the stride, and O columns to the right
        strides = (image_row, self.window.dilation[1] * pixel, channel, next_window, element)
        return np.ndarray((kh, kw, C, self.windows, O), matrix.dtype, matrix, strides=strides)


wide_window = cache(WideWindow)  # every step uses the same few, and workspaces use an instance as a dict key
