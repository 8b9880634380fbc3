"""Pooling: the maximum or the mean under a window, and the mean of the whole image."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from glassnet.errors import ConfigError
from glassnet.nn.checks import check_images, check_pair
from glassnet.nn.functional import IntOrPair
from glassnet.nn.kernels.window import SlidingWindow
from glassnet.nn.module import Module

Array = NDArray[Any]


class _WindowPool2d(Module):
    """The arguments that MaxPool2d and AvgPool2d have in common."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        name = type(self).__name__
        arguments["stride"] = arguments["kernel_size"] if arguments["stride"] is None else arguments["stride"]
        self.arguments = arguments
        pairs = {key: check_pair(f"{key} of {name}", value, int(key != "padding")) for key, value in arguments.items()}
        (kh, kw), (vertical, horizontal) = pairs["kernel_size"], pairs["padding"]
        if vertical > kh // 2 or horizontal > kw // 2:
            half = f"at most half of kernel_size {(kh, kw)}"
            raise ConfigError(f"padding of {name} must be {half}. Got {(vertical, horizontal)}.")
        borders = (vertical, vertical), (horizontal, horizontal)
        self.window = SlidingWindow((kh, kw), pairs["stride"], borders, pairs.get("dilation", (1, 1)))

    def _check(self, x: Array) -> None:
        check_images(type(self).__name__, x)
        self.window.output_size(x.shape[2:])

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items())


class MaxPool2d(_WindowPool2d):
    """The largest value of each window, with torch.nn.MaxPool2d's arguments. With x padded by −∞ to x̃::

        y[n,c,i,j] = max_{u,v} x̃[n, c, s·i + d·u, s·j + d·v]

    ``stride`` None is ``kernel_size``; sizes are rounded down. dy goes to the pixel that was the maximum: if several
    are equal, to the first, row by row. NaN counts as the largest. The gradient is undefined at NaN and for windows
    that reach into the padding and contain nothing but −∞.

    :raises ShapeError: if x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(
        self, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0, dilation: IntOrPair = 1
    ) -> None:
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)

    def forward(self, x: Array) -> Array:
        self._check(x)
        window = self.window
        settings = window.kernel_size, window.stride, window.padding, window.dilation
        y, saved = self.kernels.max_pool2d(x, *settings)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.max_pool2d_backward(dy, self.pop_saved(dy))

    def activation_pattern(self) -> list[Array]:
        return [] if self._saved is None else [self.kernels.max_pool2d_winner(self._saved)]

    def extra_repr(self) -> str:
        return super().extra_repr() + ", ceil_mode=False"


class AvgPool2d(_WindowPool2d):
    """The mean of each window, with torch.nn.AvgPool2d's arguments. With x padded by zeros to x̃::

        y[n,c,i,j] = Σ_{u,v} x̃[n, c, s·i + u, s·j + v] / count[i,j]        dx = Σ over windows of dy / count

    The count is kh·kw, or without ``count_include_pad`` the number of the image's own pixels in the window.

    :raises ShapeError: if x is not (N, C, H, W) or is too small for one window.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        *,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        self._check(x)
        window = self.window
        settings = window.kernel_size, window.stride, window.padding, self.count_include_pad
        y, saved = self.kernels.avg_pool2d(x, *settings)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.avg_pool2d_backward(dy, self.pop_saved(dy))


class AdaptiveAvgPool2d(Module):
    """The mean of each whole channel, (N, C, H, W) -> (N, C, 1, 1): torch.nn.AdaptiveAvgPool2d(1)::

        y = Σ_{h,w} x / (H·W)        dx = dy / (H·W) at every pixel

    :raises ConfigError: if output_size is not 1.
    """

    def __init__(self, output_size: IntOrPair = 1) -> None:
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
