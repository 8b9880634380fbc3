"""Convolution as one matrix product: im2col and GEMM."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError
from glassnet.nn import arguments, layout
from glassnet.nn.arguments import Pair
from glassnet.nn.module import Module, Parameter
from glassnet.nn.scratch import Scratch
from glassnet.nn.window import Window

Array = NDArray[Any]


BLOCK_BYTES = 1 << 21  # columns of this size are still in the cache when they are multiplied


def im2col(x: Array, window: Window, scratch: Scratch) -> Iterator[tuple[slice, Array]]:
    """The pixels under each window as one row, for a block of pictures at a time.

    x (N, H, W, C) -> pairs of the block's pictures, a slice of N, and its columns (n·Ho·Wo, kh·kw·C), which the next
    block overwrites.
    """
    Ho, Wo = window.output_size((x.shape[1], x.shape[2]))
    row = prod(window.kernel_size) * x.shape[3]
    count = max(1, BLOCK_BYTES // (Ho * Wo * row * x.itemsize))
    for start in range(0, len(x), count):
        part = slice(start, start + count)
        runs = window.runs(window.pad(x[part], 0, scratch), (Ho, Wo))  # (n, Ho, Wo, kh) of kw·C numbers each
        columns = scratch.empty("columns", runs.shape, runs.dtype)
        np.copyto(columns, runs)
        yield part, columns.reshape(-1).view(x.dtype).reshape(-1, row)


def correlate(x: Array, weight: Array, window: Window, scratch: Scratch) -> Array:
    """Slide ``weight`` (O, kh, kw, C) over x (N, H, W, C), unflipped: (N, Ho, Wo, O)."""
    matrix = weight.reshape(len(weight), -1).T  # (kh·kw·C, O)
    y = np.empty((len(x), *window.output_size((x.shape[1], x.shape[2])), len(weight)), x.dtype)
    for part, columns in im2col(x, window, scratch):
        np.matmul(columns, matrix, out=y[part].reshape(-1, len(weight)))
    return y


class Conv2d(Module):
    """2-D convolution (a cross-correlation: the kernel is not flipped), with torch.nn.Conv2d's arguments.

    With w (O, C, kh, kw), b (O,), stride s, dilation d and x padded by zeros::

        y[n,o,i,j]  = b[o] + Σ_{c,u,v} w[o,c,u,v] · x[n, c, s·i + d·u, s·j + d·v]      (N, O, Ho, Wo)

        dw[o,c,u,v] = Σ_{n,i,j} dy[n,o,i,j] · x[n, c, s·i + d·u, s·j + d·v]
        db[o]       = Σ_{n,i,j} dy[n,o,i,j]
        dx[n,c,p,q] = Σ_{o,u,v} w[o,c,u,v] · dy[n,o,i,j]   over all i, j with s·i + d·u = p, s·j + d·v = q

    With stride 1 the last line is itself a correlation: of dy, padded by d·(k−1) − padding, with the
    kernel turned by 180° and its channels exchanged.

    ``padding`` is an int, a pair, ``"valid"`` (0) or ``"same"`` (stride 1 only; the odd pixel goes to the
    bottom and right). Weights start He-normal, std √(2/(C·kh·kw)) (He et al. 2015, "Delving Deep into
    Rectifiers", eq. 10); biases start at 0. ``weight.data`` has torch's shape over (O, kh, kw, C) memory.

    :raises ConfigError: an argument out of its range, or groups other than 1.
    :raises ShapeError: from ``forward``, where x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same", "valid"] = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        if groups != 1:
            raise ConfigError(f"The groups of Conv2d must be 1: grouped convolution is not built. Got {groups!r}.")
        self.in_channels = arguments.integer("Conv2d", "in_channels", in_channels)
        self.out_channels = arguments.integer("Conv2d", "out_channels", out_channels)
        kernel_size = arguments.pair("Conv2d", "kernel_size", kernel_size)
        stride = arguments.pair("Conv2d", "stride", stride)
        dilation = arguments.pair("Conv2d", "dilation", dilation)
        borders = _borders(padding, kernel_size, stride, dilation)
        self.window = Window("Conv2d", kernel_size, stride, borders, dilation)
        self.weight = Parameter(layout.zeros((out_channels, in_channels, *kernel_size), dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None
        self.reset_parameters(np.random.default_rng() if rng is None else rng)

    def reset_parameters(self, rng: np.random.Generator) -> None:
        shape = self.weight.data.shape
        self.weight.data[...] = rng.standard_normal(shape) * sqrt(2 / prod(shape[1:]))
        if self.bias is not None:
            self.bias.data[...] = 0

    def forward(self, x: Array) -> Array:
        arguments.images("Conv2d", x, self.in_channels)
        y = layout.nchw(correlate(layout.nhwc(x), layout.nhwc(self.weight.data), self.window, self.scratch))
        if self.bias is not None:
            lines = layout.lines(y)
            lines += layout.along_line(self.bias.data, y.shape[3])
        self.keep(x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.kept()
        self._parameter_gradients(x, dy)
        return self._input_gradient(dy, x.shape)

    def backward_parameters(self, dy: Array) -> None:
        (x,) = self.kept()
        self._parameter_gradients(x, dy)

    def _parameter_gradients(self, x: Array, dy: Array) -> None:
        dw = layout.nhwc(self.weight.grad).reshape(self.out_channels, -1)  # a view (O, kh·kw·C)
        dw[...] = 0
        for part, columns in im2col(layout.nhwc(x), self.window, self.scratch):  # keeping them would take 9 times x
            dw += layout.pixels(dy[part]).T @ columns
        if self.bias is not None:
            self.bias.grad[...] = layout.channel_sum(layout.lines(dy), self.out_channels)

    def _input_gradient(self, dy: Array, shape: tuple[int, ...]) -> Array:
        N, C, H, W = shape
        weight, window = layout.nhwc(self.weight.data), self.window  # (O, kh, kw, C)
        turned = _turned(window)
        if turned is not None:
            flipped = weight[:, ::-1, ::-1].transpose(3, 1, 2, 0)  # (C, kh, kw, O)
            return layout.nchw(correlate(layout.nhwc(dy), flipped, turned, self.scratch))
        dcolumns = layout.pixels(dy) @ weight.reshape(self.out_channels, -1)  # (N·Ho·Wo, kh·kw·C)
        output_size = dy.shape[2:]
        by_place = dcolumns.reshape(N, *output_size, -1, C)
        dx = window.padded_zeros((N, H, W, C), dy.dtype)
        for place, pixels in enumerate(window.taps(dx, output_size)):
            pixels += by_place[:, :, :, place]
        return layout.nchw(np.ascontiguousarray(window.crop(dx, (H, W))))


def _borders(padding: Any, kernel_size: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """The border ((top, bottom), (left, right)) that ``padding`` asks for."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ConfigError(f"padding='same' of Conv2d needs stride 1. Got stride {stride}.")
        vertical, horizontal = (d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True))
        return (vertical // 2, vertical - vertical // 2), (horizontal // 2, horizontal - horizontal // 2)
    if isinstance(padding, str):
        raise ConfigError(f"The padding of Conv2d must be ints, 'same' or 'valid'. Got {padding!r}.")
    vertical, horizontal = arguments.pair("Conv2d", "padding", padding, minimum=0)
    return (vertical, vertical), (horizontal, horizontal)


def _turned(window: Window) -> Window | None:
    """The window that carries dy back to x as a correlation; None where the stride or the padding forbids it."""
    borders = [
        (d * (k - 1) - before, d * (k - 1) - after)
        for d, k, (before, after) in zip(window.dilation, window.kernel_size, window.padding, strict=True)
    ]
    if window.stride != (1, 1) or min(min(border) for border in borders) < 0:
        return None
    return Window(window.layer, window.kernel_size, (1, 1), (borders[0], borders[1]), window.dilation)
