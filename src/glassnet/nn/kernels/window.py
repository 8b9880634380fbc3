"""Sliding windows over an image: the geometry that convolution and pooling share, and views of the pixels under them.

::

    kernel_size 3, stride 2, padding 1, dilation 1          dilation 2: every second pixel is left out

    0 0 0 0 0 0 0          [0 0 0]0 0 0 0                   [a . b . c] d e
    0 a b c d e 0          [0 a b]c d e 0
    0 f g h i j 0          [0 f g]h i j 0   -> the next window begins 2 pixels further right

Arrays here are (N, H, W, C), the memory that ``layout`` describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ShapeError
from glassnet.nn import functional
from glassnet.nn.functional import IntOrPair, Padding, Pair
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]


_output_size = cache(functional.output_size)  # a training asks for the same few at each step


@dataclass(frozen=True)
class SlidingWindow:
    """The window of a kernel of (kh, kw) ``kernel_size`` that slides over a padded image."""

    kernel_size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair

    def output_size(self, size: Sequence[int]) -> Pair:
        """Return how many windows fit on an image of (H, W) ``size``, per axis: ``functional.output_size``.

        :raises ShapeError: if not a single window fits.
        """
        H, W = size
        count = _output_size((H, W), self.kernel_size, self.stride, self.padding, self.dilation)
        if min(count) < 1:
            height, width = (
                d * (k - 1) + 1 - sum(p) for d, k, p in zip(self.dilation, self.kernel_size, self.padding, strict=True)
            )
            raise ShapeError(
                f"image must be at least {height}x{width} for kernel_size {self.kernel_size}, dilation {self.dilation}"
                f" and padding {self.padding}. Got {H}x{W}."
            )
        return count

    @property
    def area(self) -> int:
        """The number of pixels in a window, kh·kw."""
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def has_padding(self) -> bool:
        """Whether any side of the image is padded."""
        return self.padding != ((0, 0), (0, 0))

    @property
    def is_non_overlapping(self) -> bool:
        """Whether each pixel belongs to one window at most."""
        reach = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        return all(step >= length for step, length in zip(self.stride, reach, strict=True))

    @cached_property
    def backward_window(self) -> SlidingWindow | None:
        """The window whose correlation with dy gives dx; None if the stride is not 1 or the padding too large."""
        borders = [
            (d * (k - 1) - before, d * (k - 1) - after)
            for d, k, (before, after) in zip(self.dilation, self.kernel_size, self.padding, strict=True)
        ]
        if self.stride != (1, 1) or min(min(border) for border in borders) < 0:
            return None
        return SlidingWindow(self.kernel_size, (1, 1), (borders[0], borders[1]), self.dilation)

    def pad(self, x: Array, value: float, workspace: Workspace) -> Array:
        """Return x (N, H, W, C) with a border of ``value``, in the workspace; x itself if there is no padding."""
        if not self.has_padding:
            return x
        padded = workspace.padded_buffer(x.shape, self.padding, value, x.dtype)
        self.unpad(padded, x.shape[1:3])[...] = x
        return padded

    def unpad(self, padded: Array, size: Sequence[int]) -> Array:
        """Return the view of the image of (H, W) ``size`` inside its border."""
        (top, _), (left, _) = self.padding
        return padded[:, top : top + size[0], left : left + size[1]]

    def padded_zeros(self, shape: tuple[int, int, int, int], dtype: Any) -> Array:
        """Return zeros of the padded size of images (N, H, W, C), to collect a gradient in."""
        N, H, W, C = shape
        (top, bottom), (left, right) = self.padding
        return np.zeros((N, top + H + bottom, left + W + right, C), dtype)

    def unfold(self, padded: Array, output_size: Pair) -> Array:
        """Return every window's pixels, offset by offset: (N, Hp, Wp, ...) -> (kh, kw, N, Ho, Wo, ...), a view.

        If windows overlap, add to it one offset at a time: one += to all of it would lose sums, as a pixel is in it
        several times.

        :raises ValueError: if ``padded`` is not contiguous.
        """
        n, h, w, *within = padded.strides  # bytes from one image, row or pixel to the next
        (sh, sw), (dh, dw) = self.stride, self.dilation
        shape = (*self.kernel_size, len(padded), *output_size, *padded.shape[3:])
        strides = (h * dh, w * dw, n, h * sh, w * sw, *within)
        return np.ndarray(shape, padded.dtype, padded, strides=strides)

    def row_segments(self, padded: Array, output_size: Pair, windows: int, pixels: int) -> Array:
        """Return the pixels of each group of adjacent windows, row by row: (N, Hp, Wp, C) -> (N, Ho, Wo/windows, kh).

        An item is one contiguous run of bytes: the ``pixels``·C values of one row of the kernel, for ``windows``
        adjacent windows together. Copying such items takes half to three quarters of the time of copying single values.
        It includes the pixels that dilation skips. The view is read-only.
        """
        padded = np.ascontiguousarray(padded)
        N, Hp, Wp, C = padded.shape
        w = C * padded.itemsize  # not from padded.strides, which may be any number for an axis of length 1
        h, n = Wp * w, Hp * Wp * w  # bytes from one row, or image, to the next
        shape = (N, output_size[0], output_size[1] // windows, self.kernel_size[0])
        strides = (n, h * self.stride[0], w * self.stride[1] * windows, h * self.dilation[0])
        segments: Array = np.ndarray(shape, np.dtype((np.void, w * pixels)), padded, strides=strides)
        segments.flags.writeable = False
        return segments


@cache
def sliding_window(
    kernel_size: IntOrPair, stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1
) -> SlidingWindow:
    """Return the window that these arguments of ``functional.conv2d`` and the poolings describe."""
    pair = functional.pair
    vertical, horizontal = pair(padding)
    return SlidingWindow(pair(kernel_size), pair(stride), (pair(vertical), pair(horizontal)), pair(dilation))
