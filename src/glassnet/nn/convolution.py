"""Convolution as one matrix product: im2col and GEMM.

``im2col``, ``correlate`` and ``gradients`` are the definition, and the reference in the tests; ``fast_convolution`` has
the same functions at the speed of the machine, and is what the layer calls.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError
from glassnet.nn import arguments, fast_convolution, layout
from glassnet.nn.arguments import Pair
from glassnet.nn.module import Module, Parameter
from glassnet.nn.scratch import Scratch
from glassnet.nn.window import Window

Array = NDArray[Any]


def im2col(x: Array, window: Window) -> Array:
    """The pixels under each window as one row: x (N, H, W, C) -> (N·Ho·Wo, kh·kw·C)."""
    padded = window.pad(np.ascontiguousarray(x), 0, Scratch())
    taps = window.taps(padded, window.output_size((x.shape[1], x.shape[2])))
    return taps.transpose(2, 3, 4, 0, 1, 5).reshape(-1, prod(window.kernel_size) * x.shape[3])


def correlate(x: Array, weight: Array, bias: Array | None, window: Window) -> Array:
    """Slide ``weight`` (O, kh, kw, C) over x (N, H, W, C), unflipped: (N, Ho, Wo, O)."""
    y = im2col(x, window) @ weight.reshape(len(weight), -1).T
    if bias is not None:
        y += bias
    return y.reshape(len(x), *window.output_size((x.shape[1], x.shape[2])), len(weight))


def gradients(x: Array, dy: Array, weight: Array, window: Window) -> tuple[Array, Array]:
    """Of x (N, H, W, C) and of ``weight`` (O, kh, kw, C), from dy (N, Ho, Wo, O)."""
    rows = dy.reshape(-1, len(weight))
    dweight = (rows.T @ im2col(x, window)).reshape(weight.shape)
    dcolumns = (rows @ weight.reshape(len(weight), -1)).reshape(*dy.shape[:3], *weight.shape[1:])
    dx = window.padded_zeros(x.shape, x.dtype)
    taps = window.taps(dx, dy.shape[1:3])
    for i, j in np.ndindex(window.kernel_size):  # col2im: im2col's transpose
        taps[i, j] += dcolumns[:, :, :, i, j]
    return np.ascontiguousarray(window.crop(dx, x.shape[1:3])), dweight


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
        bias = None if self.bias is None else self.bias.data
        y = fast_convolution.correlate(layout.nhwc(x), layout.nhwc(self.weight.data), bias, self.window, self.workers)
        self.keep(x)
        return layout.nchw(y)

    def backward(self, dy: Array) -> Array:
        x = self._input(dy)
        dx, dw = fast_convolution.gradients(
            layout.nhwc(x), layout.nhwc(dy), layout.nhwc(self.weight.data), self.window, self.workers
        )
        self._fill(dw, dy)
        return layout.nchw(dx)

    def backward_parameters(self, dy: Array) -> None:
        x = self._input(dy)
        dw = fast_convolution.kernel_gradient(layout.nhwc(x), layout.nhwc(dy), self.window, self.workers)
        self._fill(dw, dy)

    def _input(self, dy: Array) -> Array:
        """The x of the forward pass, whose output's shape dy must have."""
        x: Array = self.kept()[0]
        size = self.window.output_size((x.shape[2], x.shape[3]))
        arguments.gradient("Conv2d", dy, (len(x), self.out_channels, *size))
        return x

    def _fill(self, dw: Array, dy: Array) -> None:
        layout.nhwc(self.weight.grad)[...] = dw
        if self.bias is not None:
            self.bias.grad[...] = layout.channel_sum(layout.lines(dy), self.out_channels)


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
