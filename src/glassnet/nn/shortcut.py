"""Shortcuts without parameters, around the layers of a residual block."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from glassnet.nn.checks import check_images, check_int
from glassnet.nn.module import Module

Array = NDArray[Any]


class Identity(Module):
    """y = x and dx = dy, as copies."""

    def forward(self, x: Array) -> Array:
        y = self.kernels.identity(x)
        self.save_for_backward((), y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        self.pop_saved(dy)
        return self.kernels.identity(dy)


class ZeroPadShortcut(Module):
    """He et al. 2015's shortcut without parameters (option A, sec. 3.3): every stride-th pixel, new channels zero.

    With p = (out_channels − in_channels) // 2 of the new channels before x's channels and the remaining ones after::

        y[n, p + c, i, j] = x[n, c, s·i, s·j]        dx[n, c, s·i, s·j] = dy[n, p + c, i, j], else 0

    :raises ConfigError: if out_channels is below in_channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.in_channels = check_int("in_channels of ZeroPadShortcut", in_channels)
        self.out_channels = check_int("out_channels of ZeroPadShortcut", out_channels, minimum=self.in_channels)
        self.stride = check_int("stride of ZeroPadShortcut", stride)

    def forward(self, x: Array) -> Array:
        check_images("ZeroPadShortcut", x, self.in_channels)
        y, saved = self.kernels.zero_pad_shortcut(x, self.out_channels, self.stride)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.zero_pad_shortcut_backward(dy, self.pop_saved(dy))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
