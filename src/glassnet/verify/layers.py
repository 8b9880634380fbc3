"""Small cases of every layer with its options, for the gradient check and the tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn

Array = NDArray[Any]
LayerCase = tuple[Callable[[], nn.Module], tuple[int, ...]]


class LossOfLogits(nn.Module):
    """A loss as a layer with one input, the logits; its output is a number, as an array of shape ()."""

    def __init__(self, label_smoothing: float, labels: list[int], weight: list[float] | None = None) -> None:
        super().__init__()
        self.loss, self.labels = nn.CrossEntropyLoss(label_smoothing, weight), np.array(labels)

    def forward(self, x: Array) -> Array:
        return np.array(self.loss(x, self.labels), x.dtype)

    def backward(self, dy: Array) -> Array:
        return dy * self.loss.backward()


def _body(stride: int = 1) -> nn.Sequential:
    layers = {
        "conv1": nn.Conv2d(2, 4, 3, stride, padding=1, bias=False),
        "bn1": nn.BatchNorm2d(4),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(4, 4, 3, padding=1),
    }
    return nn.Sequential(layers)


def _identity_block() -> nn.Residual:
    return nn.Residual(nn.Sequential({"conv1": nn.Conv2d(3, 3, 3, padding=1)}), nn.Identity(), nn.ReLU())


def _projection_block() -> nn.Residual:
    projection = nn.Sequential(nn.Conv2d(2, 4, 1, stride=2, bias=False), nn.BatchNorm2d(4))
    return nn.Residual(_body(stride=2), projection, nn.ReLU())


def _zero_pad_block() -> nn.Residual:
    return nn.Residual(_body(stride=2), nn.ZeroPadShortcut(2, 4, stride=2), nn.ReLU())


# Name: constructor, and the shape of an input.
CASES: dict[str, LayerCase] = {
    "Conv2d": (partial(nn.Conv2d, 2, 3, 3), (2, 2, 5, 6)),
    "Conv2d, padding 1": (partial(nn.Conv2d, 2, 3, 3, padding=1), (2, 2, 5, 4)),
    "Conv2d, padding beyond the kernel": (partial(nn.Conv2d, 2, 2, 2, padding=(3, 2)), (2, 2, 3, 4)),
    "Conv2d, stride 2": (partial(nn.Conv2d, 2, 3, 3, stride=2, padding=1), (2, 2, 6, 5)),
    "Conv2d, rectangular": (partial(nn.Conv2d, 3, 2, (1, 4), (2, 1), (0, 2), (1, 2)), (2, 3, 5, 8)),
    "Conv2d, dilation 2": (partial(nn.Conv2d, 2, 3, 3, padding=2, dilation=2), (2, 2, 5, 6)),
    "Conv2d, same, even kernel": (partial(nn.Conv2d, 2, 3, (2, 4), padding="same"), (2, 2, 5, 6)),
    "Conv2d, valid, no bias": (partial(nn.Conv2d, 2, 3, 2, padding="valid", bias=False), (2, 2, 4, 5)),
    "Conv2d, 1x1, stride 2": (partial(nn.Conv2d, 3, 4, 1, stride=2, bias=False), (2, 3, 5, 5)),
    "Conv2d, one channel": (partial(nn.Conv2d, 1, 1, 3, padding=1), (2, 1, 4, 5)),
    "BatchNorm2d": (partial(nn.BatchNorm2d, 3), (4, 3, 3, 2)),
    "BatchNorm2d, not affine": (partial(nn.BatchNorm2d, 3, affine=False), (4, 3, 3, 2)),
    "BatchNorm2d, untracked": (partial(nn.BatchNorm2d, 3, track_running_stats=False), (4, 3, 3, 2)),
    "BatchNorm2d, eps 0.1, momentum None": (partial(nn.BatchNorm2d, 3, 0.1, None), (4, 3, 3, 2)),
    "ReLU": (nn.ReLU, (3, 4, 3, 2)),
    "MaxPool2d": (partial(nn.MaxPool2d, 2), (2, 3, 5, 4)),
    "MaxPool2d, overlapping": (partial(nn.MaxPool2d, 3, 2, 1), (2, 3, 6, 5)),
    "MaxPool2d, rectangular, dilated": (partial(nn.MaxPool2d, (2, 3), 1, (1, 0), (1, 2)), (2, 2, 4, 7)),
    "AvgPool2d": (partial(nn.AvgPool2d, 2), (2, 3, 5, 4)),
    "AvgPool2d, overlapping": (partial(nn.AvgPool2d, 3, 2, 1), (2, 3, 6, 5)),
    "AvgPool2d, rectangular": (partial(nn.AvgPool2d, (1, 3), (2, 1), (0, 1)), (2, 2, 5, 4)),
    "AvgPool2d, padding not counted": (partial(nn.AvgPool2d, 3, 2, 1, count_include_pad=False), (2, 3, 6, 5)),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, (2, 3, 4, 5)),
    "Flatten": (nn.Flatten, (2, 3, 4, 2)),
    "Flatten, one channel": (nn.Flatten, (2, 1, 4, 2)),
    "Linear": (partial(nn.Linear, 5, 3), (4, 5)),
    "Linear, no bias": (partial(nn.Linear, 5, 3, bias=False), (4, 5)),
    "Dropout": (partial(nn.Dropout, 0.4), (3, 4, 3, 2)),
    "Dropout, features": (partial(nn.Dropout, 0.4), (5, 6)),
    "Identity": (nn.Identity, (2, 3, 4, 2)),
    "Sequential": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2)), (2, 2, 6, 5)),
    "ZeroPadShortcut": (partial(nn.ZeroPadShortcut, 2, 5, 2), (2, 2, 5, 4)),
    "Residual, identity": (_identity_block, (2, 3, 4, 5)),
    "Residual, projection": (_projection_block, (3, 2, 6, 5)),
    "Residual, zero-pad": (_zero_pad_block, (3, 2, 6, 5)),
    "Residual, no activation": (lambda: nn.Residual(_body(), nn.ZeroPadShortcut(2, 4), None), (3, 2, 4, 5)),
    "Residual, plain": (lambda: nn.Residual(_body(), None, nn.ReLU()), (3, 2, 4, 5)),
    "CrossEntropyLoss": (partial(LossOfLogits, 0.0, [2, 0, 3, 2]), (4, 5)),
    "CrossEntropyLoss, label smoothing": (partial(LossOfLogits, 0.2, [2, 0, 3, 2]), (4, 5)),
    "CrossEntropyLoss, weights": (partial(LossOfLogits, 0.0, [2, 0, 3, 2], [1.5, 0.5, 2.0, 0.3, 0.7]), (4, 5)),
    "CrossEntropyLoss, both": (partial(LossOfLogits, 0.2, [2, 0, 3, 2], [1.5, 0.5, 2.0, 0.3, 0.7]), (4, 5)),
}


def build(name: str, seed: int = 0) -> nn.Module:
    """Build the layer of a case in float64, with random parameters: fresh ones (β = 0, γ = 1) would hide mistakes."""
    layer = CASES[name][0]().to(np.float64)
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
    return layer
