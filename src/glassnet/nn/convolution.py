"""Convolution."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError
from glassnet.nn.checks import check_images, check_int, check_pair
from glassnet.nn.functional import IntOrPair, Pair
from glassnet.nn.kernels import layout
from glassnet.nn.kernels.window import SlidingWindow
from glassnet.nn.module import Module, Parameter

Array = NDArray[Any]


class Conv2d(Module):
    """2-D convolution (a cross-correlation: the kernel is not flipped), with torch.nn.Conv2d's arguments.

    With w (O, C, kh, kw), b (O,), stride s, dilation d and x̃, which is x padded with zeros::

        y[n,o,i,j]  = b[o] + Σ_{c,u,v} w[o,c,u,v] · x̃[n, c, s·i + d·u, s·j + d·v]      (N, O, Ho, Wo)

        dw[o,c,u,v] = Σ_{n,i,j} dy[n,o,i,j] · x̃[n, c, s·i + d·u, s·j + d·v]
        db[o]       = Σ_{n,i,j} dy[n,o,i,j]
        dx̃[n,c,p,q] = Σ_{o,u,v} w[o,c,u,v] · dy[n,o,i,j]   over all i, j with s·i + d·u = p, s·j + d·v = q

    dx is dx̃ without the padding. With stride 1 it is itself a correlation: of dy, padded by d·(k−1) − padding, with
    the kernel turned by 180° and its channels exchanged.

    ``padding`` is an int, a pair, ``"valid"`` (0) or ``"same"`` (stride 1 only; the odd pixel goes to the
    bottom and right). Weights start He-normal, std √(2/(C·kh·kw)) (He et al. 2015, "Delving Deep into
    Rectifiers", eq. 10); biases start at 0. ``weight.data`` has torch's shape over (O, kh, kw, C) memory.

    :raises ConfigError: if an argument is out of its range, or groups is not 1.
    :raises ShapeError: from ``forward``, if x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | Literal["same", "valid"] = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        if groups != 1:
            raise ConfigError(f"groups of Conv2d must be 1. Got {groups!r}.")
        self.in_channels = check_int("in_channels of Conv2d", in_channels)
        self.out_channels = check_int("out_channels of Conv2d", out_channels)
        self.kernel_size = check_pair("kernel_size of Conv2d", kernel_size)
        self.stride = check_pair("stride of Conv2d", stride)
        self.dilation = check_pair("dilation of Conv2d", dilation)
        self.padding = padding
        borders = _resolve_padding(padding, self.kernel_size, self.stride, self.dilation)
        self.window = SlidingWindow(self.kernel_size, self.stride, borders, self.dilation)
        self.weight = Parameter(layout.zeros((out_channels, in_channels, *self.kernel_size), dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None
        self.reset_parameters(np.random.default_rng() if rng is None else rng)

    def reset_parameters(self, rng: np.random.Generator) -> None:
        shape = self.weight.data.shape
        self.weight.data[...] = rng.standard_normal(shape) * sqrt(2 / prod(shape[1:]))
        if self.bias is not None:
            self.bias.data[...] = 0

    def forward(self, x: Array) -> Array:
        check_images("Conv2d", x, self.in_channels)
        self.window.output_size(x.shape[2:])
        bias = None if self.bias is None else self.bias.data
        y, saved = self.kernels.conv2d(x, self.weight.data, bias, self.stride, self.window.padding, self.dilation)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        dx, dw, db = self.kernels.conv2d_backward(dy, self.pop_saved(dy))
        self._fill_gradients(dw, db)
        return dx

    def backward_params(self, dy: Array) -> None:
        self._fill_gradients(*self.kernels.conv2d_backward_params(dy, self.pop_saved(dy)))

    def _fill_gradients(self, dw: Array, db: Array | None) -> None:
        self.weight.grad[...] = dw
        if self.bias is not None:
            self.bias.grad[...] = db

    def extra_repr(self) -> str:
        padding = self.padding if isinstance(self.padding, str) else tuple(p[0] for p in self.window.padding)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={padding}" if padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        return text + (", bias=False" if self.bias is None else "")


def _resolve_padding(padding: Any, kernel_size: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return the border ((top, bottom), (left, right)) that ``padding`` stands for."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ConfigError(f"stride of Conv2d must be 1 for padding='same'. Got {stride}.")
        vertical, horizontal = (d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True))
        return (vertical // 2, vertical - vertical // 2), (horizontal // 2, horizontal - horizontal // 2)
    if isinstance(padding, str):
        raise ConfigError(f"padding of Conv2d must be integers, 'same' or 'valid'. Got {padding!r}.")
    vertical, horizontal = check_pair("padding of Conv2d", padding, minimum=0)
    return (vertical, vertical), (horizontal, horizontal)
