"""Pooling: the maximum or the mean under a window, and the mean of the whole picture."""

from __future__ import annotations

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

        y[n,c,i,j] = max_u max_v x[n, c, s·i + d·u, s·j + d·v]

    It is the maximum of its lines' maxima. dy goes to the place of the maximum, the first of them, row by row, where
    several are equal. NaN counts as the largest. The padding is −∞, sizes round down. Left open is where dy goes at a
    NaN, and under a window that reaches into the padding and has nothing but −∞.

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
        (kh, kw), (Ho, Wo) = self.window.kernel_size, self.window.output_size((x.shape[2], x.shape[3]))
        outputs = (len(x), Ho, Wo, x.shape[1])
        y = self.workers.empty(outputs, x.dtype)
        # Of the 2nd, 3rd, … place in a line, and of the 2nd, 3rd, … line: is it larger than all before?
        across = self.workers.empty((kw - 1, kh, *outputs), np.bool_)
        down = self.workers.empty((kh - 1, *outputs), np.bool_)

        def work(part: slice, scratch: Scratch) -> None:
            padded = np.ascontiguousarray(self.window.pad(layout.nhwc(x[part]), -np.inf, scratch))
            places = scratch.empty("places", (kw, kh, *y[part].shape), x.dtype)  # by columns: lines are compared first
            layout.pixels(places)[...] = self.window.taps(layout.pixels(padded), (Ho, Wo)).swapaxes(0, 1)
            lines = _largest(places, across[:, :, part], places[0])
            _largest(lines, down[:, part], y[part])

        self.workers.map(work, len(x), kw * y[:1].nbytes)
        self.keep(across, down, x.shape)
        return layout.nchw(y)

    def backward(self, dy: Array) -> Array:
        across, down, (N, C, H, W) = self.kept()
        arguments.gradient("MaxPool2d", dy, (N, C, *down.shape[2:4]))
        dx = self.window.padded_zeros((N, H, W, C), dy.dtype)
        dy = layout.nhwc(dy)
        (kh, kw), disjoint = self.window.kernel_size, self.window.is_disjoint

        def work(part: slice, scratch: Scratch) -> None:
            places = scratch.empty("places", (kw, kh, *dy[part].shape), dy.dtype)
            _share(dy[part], down[:, part], places[0])
            _share(places[0], across[:, :, part], places)
            under = self.window.taps(dx[part], dy.shape[1:3])
            if disjoint:
                layout.pixels(under)[...] = layout.pixels(places).swapaxes(0, 1)
            else:
                for i, j in np.ndindex(kh, kw):
                    under[i, j] += places[j, i]

        self.workers.map(work, N, kw * dy[:1].nbytes)
        return layout.nchw(np.ascontiguousarray(self.window.crop(dx, (H, W))))

    def decisions(self) -> list[Array]:
        """The place of each window's maximum, counted row by row."""
        if self._kept is None:
            return []
        across, down, _ = self._kept
        column, line = _last(across), _last(down)
        return [line * self.window.kernel_size[1] + np.take_along_axis(column, line[None], axis=0)[0]]


def _last(larger: Array) -> Array:
    """The number of the last that was larger than all before."""
    numbers = np.arange(1, len(larger) + 1).reshape(-1, *[1] * (larger.ndim - 1))
    last: Array = (numbers * larger).max(axis=0, initial=0)
    return last


def _largest(values: Array, larger: Array, out: Array) -> Array:
    """The largest of several arrays, in ``out``; ``larger`` of each but the first: is it larger than all before?"""
    best = values[0]
    for value, won in zip(values[1:], larger, strict=True):
        np.greater(value, best, out=won)
        best = np.maximum(best, value, out=out)
    if best is not out:
        out[...] = best
    return out


def _share(dy: Array, larger: Array, shares: Array) -> None:
    """Each one's share of dy, in ``shares``: the last that was larger than all before has it, the others have 0.

    ``shares[0]`` is what is left for those before, and may be dy itself."""
    rest = dy
    for won, share in zip(larger[::-1], shares[:0:-1], strict=True):
        np.multiply(rest, won, out=share)
        rest = np.subtract(rest, share, out=shares[0])
    if rest is dy:
        shares[0] = dy


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
        padded = np.ascontiguousarray(self.window.pad(layout.nhwc(x), 0, self.workers.scratches[0]))
        y = self.window.taps(padded, output_size).sum(axis=(0, 1))
        y /= self.area
        self.keep(x.shape)
        return layout.nchw(y)

    def backward(self, dy: Array) -> Array:
        ((N, C, H, W),) = self.kept()
        arguments.gradient("AvgPool2d", dy, (N, C, *self.window.output_size((H, W))))
        dx = self.window.padded_zeros((N, H, W, C), dy.dtype)
        share = layout.nhwc(dy) / self.area
        for line in self.window.taps(dx, (dy.shape[2], dy.shape[3])):
            for place in line:
                place += share
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
        N, C, H, W = x.shape
        y = np.empty((N, C, 1, 1), x.dtype)

        def work(part: slice, _: Scratch) -> None:
            # Over the lines first: NumPy's inner loops are then W·C numbers long, and only once C.
            line = layout.lines(x[part]).reshape(-1, H, W * C).sum(axis=1)
            np.divide(line.reshape(-1, W, C).sum(axis=1), H * W, out=y[part, :, 0, 0])

        self.workers.map(work, N, x[:1].nbytes)
        self.keep(x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        ((N, C, H, W),) = self.kept()
        arguments.gradient("AdaptiveAvgPool2d", dy, (N, C, 1, 1))
        dx = self.workers.empty((N, H, W * C), dy.dtype)

        def work(part: slice, _: Scratch) -> None:
            share = dy[part].reshape(-1, 1, C) / (H * W)
            dx[part] = share.repeat(W, axis=1).reshape(-1, 1, W * C)  # the line that all lines are

        self.workers.map(work, N, dx[:1].nbytes)
        return layout.nchw(dx.reshape(N, H, W, C))
