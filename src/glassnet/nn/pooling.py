"""Pooling: the maximum or the mean under a window, and the mean of the whole picture."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError
from glassnet.nn import arguments, layout
from glassnet.nn.arguments import Pair
from glassnet.nn.module import Module
from glassnet.nn.scratch import Scratch
from glassnet.nn.window import Window

Array = NDArray[Any]


def _pooling_window(
    layer: str, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair, dilation: int | Pair = 1
) -> Window:
    kernel = arguments.pair(layer, "kernel_size", kernel_size)
    vertical, horizontal = arguments.pair(layer, "padding", padding, minimum=0)
    if vertical > kernel[0] // 2 or horizontal > kernel[1] // 2:
        raise ConfigError(
            f"The padding of {layer} must be at most half its kernel_size {kernel}. Got {(vertical, horizontal)}."
        )
    return Window(
        layer,
        kernel,
        kernel if stride is None else arguments.pair(layer, "stride", stride),
        ((vertical, vertical), (horizontal, horizontal)),
        arguments.pair(layer, "dilation", dilation),
    )


class MaxPool2d(Module):
    """The largest value under each window, with torch.nn.MaxPool2d's arguments (stride None: the kernel's size)::

        y[n,c,i,j] = max_{u,v} x[n, c, s·i + d·u, s·j + d·v]

    dy goes to the place of the maximum, the first of them, row by row, where several are equal. NaN counts as
    the largest (where its gradient goes is left open). The padding is −∞, sizes round down.

    :raises ShapeError: where x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
    ) -> None:
        super().__init__()
        self.window = _pooling_window("MaxPool2d", kernel_size, stride, padding, dilation)

    def forward(self, x: Array) -> Array:
        arguments.images("MaxPool2d", x)
        output_size = self.window.output_size((x.shape[2], x.shape[3]))
        y = np.empty((len(x), *output_size, x.shape[1]), x.dtype)
        winners = np.empty((prod(self.window.kernel_size), *y.shape), np.bool_)  # did the maximum come from this place?

        def work(part: slice, scratch: Scratch) -> None:
            padded = self.window.pad(layout.nhwc(x[part]), -np.inf, scratch)
            # Side by side, since NumPy's inner loops over the strided pixels themselves are only C numbers long.
            values = scratch.empty("taps", winners[:, part].shape, x.dtype)
            np.stack(list(self.window.taps(padded, output_size)), out=values)
            np.maximum.reduce(values, axis=0, out=y[part])
            np.equal(values, y[part], out=winners[:, part])
            undecided = np.ones(y[part].shape, np.bool_)
            for won in winners[:, part]:
                won &= undecided
                undecided ^= won

        self.workers.map(work, len(x), x[:1].nbytes)
        self.keep(winners, x.shape)
        return layout.nchw(y)

    def backward(self, dy: Array) -> Array:
        winners, (N, C, H, W) = self.kept()
        dx = self.window.padded_zeros((N, H, W, C), dy.dtype)
        dy = layout.nhwc(dy)

        def work(part: slice, _: Scratch) -> None:
            shares = dy[part] * winners[:, part]
            for share, pixels in zip(shares, self.window.taps(dx[part], dy.shape[1:3]), strict=True):
                pixels += share

        self.workers.map(work, N, dx[:1].nbytes)
        return layout.nchw(np.ascontiguousarray(self.window.crop(dx, (H, W))))


class AvgPool2d(Module):
    """The mean under each window, with torch.nn.AvgPool2d's arguments; the padding's zeros count::

        y[n,c,i,j] = Σ_{u,v} x[n, c, s·i + u, s·j + v] / (kh·kw)        dx = Σ over windows of dy / (kh·kw)

    :raises ShapeError: where x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        self.window = _pooling_window("AvgPool2d", kernel_size, stride, padding)
        self.area = self.window.kernel_size[0] * self.window.kernel_size[1]

    def forward(self, x: Array) -> Array:
        arguments.images("AvgPool2d", x)
        output_size = self.window.output_size((x.shape[2], x.shape[3]))
        taps = self.window.taps(self.window.pad(layout.nhwc(x), 0, self.workers.scratches[0]), output_size)
        y = np.array(next(taps), order="C")
        for pixels in taps:
            y += pixels
        y /= self.area
        self.keep(x.shape)
        return layout.nchw(y)

    def backward(self, dy: Array) -> Array:
        ((N, C, H, W),) = self.kept()
        dx = self.window.padded_zeros((N, H, W, C), dy.dtype)
        share = layout.nhwc(dy) / self.area
        for pixels in self.window.taps(dx, dy.shape[2:]):
            pixels += share
        return layout.nchw(np.ascontiguousarray(self.window.crop(dx, (H, W))))


class AdaptiveAvgPool2d(Module):
    """The mean over the whole picture, (N, C, H, W) -> (N, C, 1, 1): torch.nn.AdaptiveAvgPool2d(1)::

        y = Σ_{h,w} x / (H·W)        dx = dy / (H·W) at every pixel

    :raises ConfigError: for any other output_size.
    """

    def __init__(self, output_size: int | Pair = 1) -> None:
        super().__init__()
        if output_size not in (1, (1, 1)):
            raise ConfigError(f"The output_size of AdaptiveAvgPool2d must be 1. Got {output_size!r}.")

    def forward(self, x: Array) -> Array:
        arguments.images("AdaptiveAvgPool2d", x)
        self.keep(x.shape)
        return layout.nchw(layout.nhwc(x).mean(axis=(1, 2), keepdims=True))

    def backward(self, dy: Array) -> Array:
        ((N, C, H, W),) = self.kept()
        dx = layout.empty((N, C, H, W), dy.dtype)
        dx[...] = dy / (H * W)
        return dx
