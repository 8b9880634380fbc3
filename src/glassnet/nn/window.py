"""Sliding windows over a picture: the geometry that convolution and pooling share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ShapeError
from glassnet.nn.arguments import Pair
from glassnet.nn.scratch import Scratch

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """Where a kernel of (height, width) ``kernel_size`` is laid on a padded picture. Arrays here are (N, H, W, C)."""

    layer: str  # whose window it is, for error texts
    kernel_size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair

    def output_size(self, size: Pair) -> Pair:
        """Windows that fit: floor((size + padding − dilation·(kernel − 1) − 1) / stride) + 1, per axis.

        :raises ShapeError: where not a single window fits.
        """
        (kh, kw), (sh, sw), (dh, dw) = self.kernel_size, self.stride, self.dilation
        height = (size[0] + sum(self.padding[0]) - dh * (kh - 1) - 1) // sh + 1
        width = (size[1] + sum(self.padding[1]) - dw * (kw - 1) - 1) // sw + 1
        if height < 1 or width < 1:
            raise ShapeError(
                f"{self.layer} with kernel_size {self.kernel_size}, dilation {self.dilation} and padding {self.padding}"
                f" would make {height}x{width} of a picture of {size[0]}x{size[1]}; at least 1x1 is needed."
            )
        return height, width

    @property
    def has_padding(self) -> bool:
        return self.padding != ((0, 0), (0, 0))

    def pad(self, x: Array, value: float, scratch: Scratch) -> Array:
        """x (N, H, W, C) with a border of ``value``; x itself where the padding is 0, otherwise in the scratch."""
        if not self.has_padding:
            return x
        padded = scratch.bordered(x.shape, self.padding, value, x.dtype)
        self.crop(padded, x.shape[1:3])[...] = x
        return padded

    def crop(self, padded: Array, size: Pair) -> Array:
        """The view of the picture of (H, W) ``size`` inside its border: the inverse of ``pad``."""
        (top, _), (left, _) = self.padding
        return padded[:, top : top + size[0], left : left + size[1]]

    def runs(self, padded: Array, output_size: Pair, windows: int, pixels: int) -> Array:
        """The pixels under every so many ``windows`` side by side as runs of memory, without copying. Read only.

        (N, Hp, Wp, C) -> (N, Ho, Wo/windows, kh), each item the run of ``pixels``·C numbers that lie side by side in a
        line of the kernel, as bytes: copying such items takes half to three quarters of the time of copying numbers.
        A run also holds what dilation leaves out.
        """
        padded = np.ascontiguousarray(padded)
        N, Hp, Wp, C = padded.shape
        w = C * padded.itemsize  # not from padded.strides, which say anything of axes of length 1
        h, n = Wp * w, Hp * Wp * w
        shape = (N, output_size[0], output_size[1] // windows, self.kernel_size[0])
        strides = (n, h * self.stride[0], w * self.stride[1] * windows, h * self.dilation[0])
        runs: Array = np.ndarray(shape, np.dtype((np.void, w * pixels)), padded, strides=strides)
        runs.flags.writeable = False
        return runs

    def taps(self, padded: Array, output_size: Pair) -> Array:
        """For each place in the kernel the pixels that lie under it: a view (kh, kw, N, Ho, Wo, ...) of a contiguous
        (N, Hp, Wp, ...). Where windows overlap, adding to all places at once would lose sums.

        :raises ValueError: where ``padded`` is not contiguous.
        """
        n, h, w, *within = padded.strides
        (sh, sw), (dh, dw) = self.stride, self.dilation
        shape = (*self.kernel_size, len(padded), *output_size, *padded.shape[3:])
        strides = (h * dh, w * dw, n, h * sh, w * sw, *within)
        return np.ndarray(shape, padded.dtype, padded, strides=strides)

    def padded_zeros(self, shape: tuple[int, int, int, int], dtype: Any) -> Array:
        """Zeros of the padded size of pictures (N, H, W, C), to collect a gradient in."""
        N, H, W, C = shape
        (top, bottom), (left, right) = self.padding
        return np.zeros((N, top + H + bottom, left + W + right, C), dtype)

    @property
    def is_disjoint(self) -> bool:
        """Does each pixel lie under one window at most?"""
        reach = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        return all(step >= length for step, length in zip(self.stride, reach, strict=True))

    @cached_property
    def turned(self) -> Window | None:
        """The window that carries dy back to x as a correlation; None where the stride or the padding forbids it."""
        borders = [
            (d * (k - 1) - before, d * (k - 1) - after)
            for d, k, (before, after) in zip(self.dilation, self.kernel_size, self.padding, strict=True)
        ]
        if self.stride != (1, 1) or min(min(border) for border in borders) < 0:
            return None
        return Window(self.layer, self.kernel_size, (1, 1), (borders[0], borders[1]), self.dilation)
