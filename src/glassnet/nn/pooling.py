"""Pooling: the maximum or the mean under a window, and the mean of the whole image."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from glassnet.errors import ConfigError
from glassnet.nn.checks import check_images, check_pair
from glassnet.nn.functional import Pair
from glassnet.nn.kernels.window import SlidingWindow
from glassnet.nn.module import Module

Array = NDArray[Any]


def _pooling_window(
    layer: str, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair, dilation: int | Pair = 1
) -> SlidingWindow:
    kernel = check_pair(f"kernel_size of {layer}", kernel_size)
    strides = kernel if stride is None else check_pair(f"stride of {layer}", stride)
    vertical, horizontal = check_pair(f"padding of {layer}", padding, minimum=0)
    if vertical > kernel[0] // 2 or horizontal > kernel[1] // 2:
        half = f"at most half of kernel_size {kernel}"
        raise ConfigError(f"padding of {layer} must be {half}. Got {(vertical, horizontal)}.")
    borders = (vertical, vertical), (horizontal, horizontal)
    return SlidingWindow(kernel, strides, borders, check_pair(f"dilation of {layer}", dilation))


class MaxPool2d(Module):
    """The largest value under each window, with torch.nn.MaxPool2d's arguments (stride None: the kernel's size)::

        y[n,c,i,j] = max_u max_v x[n, c, s·i + d·u, s·j + d·v]

    dy goes to the pixel that was the maximum, the first of them, row by row, if several are equal. NaN counts as the
    largest. The padding is −∞, sizes round down. Undefined is where dy goes at a NaN, and under a window that reaches
    into the padding and has nothing but −∞.

    :raises ShapeError: if x is not (N, C, H, W) or is too small for one window.
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
        self.arguments = {
            "kernel_size": kernel_size,
            "stride": kernel_size if stride is None else stride,
            "padding": padding,
            "dilation": dilation,
        }

    def forward(self, x: Array) -> Array:
        check_images("MaxPool2d", x)
        self.window.output_size(x.shape[2:])
        window = self.window
        y, saved = self.kernels.max_pool2d(x, window.kernel_size, window.stride, window.padding, window.dilation)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.max_pool2d_backward(dy, self.pop_saved(dy))

    def activation_pattern(self) -> list[Array]:
        return [] if self._saved is None else [self.kernels.max_pool2d_winner(self._saved)]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items()) + ", ceil_mode=False"


class AvgPool2d(Module):
    """The mean under each window, with torch.nn.AvgPool2d's arguments; the padding's zeros count::

        y[n,c,i,j] = Σ_{u,v} x[n, c, s·i + u, s·j + v] / (kh·kw)        dx = Σ over windows of dy / (kh·kw)

    :raises ShapeError: if x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        self.window = _pooling_window("AvgPool2d", kernel_size, stride, padding)
        self.arguments = {
            "kernel_size": kernel_size,
            "stride": kernel_size if stride is None else stride,
            "padding": padding,
        }

    def forward(self, x: Array) -> Array:
        check_images("AvgPool2d", x)
        self.window.output_size(x.shape[2:])
        y, saved = self.kernels.avg_pool2d(x, self.window.kernel_size, self.window.stride, self.window.padding)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.avg_pool2d_backward(dy, self.pop_saved(dy))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items())


class AdaptiveAvgPool2d(Module):
    """The mean of each whole channel, (N, C, H, W) -> (N, C, 1, 1): torch.nn.AdaptiveAvgPool2d(1)::

        y = Σ_{h,w} x / (H·W)        dx = dy / (H·W) at every pixel

    :raises ConfigError: if output_size is not 1.
    """

    def __init__(self, output_size: int | Pair = 1) -> None:
        super().__init__()
        if output_size not in (1, (1, 1)):
            raise ConfigError(f"output_size of AdaptiveAvgPool2d must be 1. Got {output_size!r}.")
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        check_images("AdaptiveAvgPool2d", x)
        y, saved = self.kernels.adaptive_avg_pool2d(x)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.adaptive_avg_pool2d_backward(dy, self.pop_saved(dy))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
