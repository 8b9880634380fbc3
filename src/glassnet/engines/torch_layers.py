"""The second namespace for ``assemble``: torch.nn's layers, and the four that torch.nn has not or not like this."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
    "ZeroPadShortcut",
]


class Conv2d(torch.nn.Conv2d):
    """torch.nn.Conv2d with a workaround for an out-of-bounds write in oneDNN (uxlfoundation/oneDNN#6035).

    The gradient of a strided 1×1 kernel writes out of bounds if channels-last images have fewer channels than a
    register (16 at most). To take every stride-th pixel first gives the same convolution without a stride.
    """

    def reset_parameters(self) -> None:
        """Draw no weights: a network is given those of ``initial_state_dict``, or of a file."""
        torch.nn.init.zeros_(self.weight)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1, 1) and self.stride != (1, 1) and self.in_channels < 16:
            vertical, horizontal = self.stride
            return torch.nn.functional.conv2d(x[:, :, ::vertical, ::horizontal], self.weight, self.bias)
        return super().forward(x)


class Residual(Module):
    """``glassnet.nn.Residual`` in PyTorch: y = activation(shortcut(x) + body(x)), with the same keys."""

    def __init__(self, body: Sequential, shortcut: Module | None, activation: Module | None) -> None:
        super().__init__()
        self.body_names = [name for name, _ in body.named_children()]
        for name, layer in body.named_children():
            self.add_module(name, layer)
        self.shortcut_name = None
        if shortcut is not None:
            self.shortcut_name = "downsample" if any(True for _ in shortcut.parameters()) else "shortcut"
            self.add_module(self.shortcut_name, shortcut)
        self.activation_name = None if activation is None else "relu"
        if activation is not None:
            self.add_module("relu", activation)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name in self.body_names:
            y = self.get_submodule(name)(y)
        if self.shortcut_name is not None:
            y = self.get_submodule(self.shortcut_name)(x) + y
        return y if self.activation_name is None else self.get_submodule(self.activation_name)(y)


class ZeroPadShortcut(Module):
    """``glassnet.nn.ZeroPadShortcut`` in PyTorch: every stride-th pixel, new channels zero."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


class Dropout(Module):
    """``glassnet.nn.Dropout`` in PyTorch: the mask comes from the same NumPy generator, in the order of x's shape."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p
        self.generator: Any = np.random.default_rng()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        mask = torch.from_numpy(self.generator.random(x.shape) >= self.p)
        return x * (mask.to(x.device, x.dtype) * scale)
