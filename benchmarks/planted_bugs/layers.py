"""Bugs in the layers of the NumPy engine, in what connects them, and in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from glassnet import nn
from planted_bugs.planting import (
    BOTTLENECK,
    CIFAR,
    DROPOUT,
    LARGE,
    NORM,
    PREACTIVATION,
    PROJECTION,
    SMOOTH,
    TINY,
    WEIGHTS,
    Bug,
    Row,
    bugs_of,
    on_result,
)


def without_shortcut(plain: Any) -> Any:
    def backward(block: nn.Residual, dy: Any) -> Any:
        children = dict(block.named_children())
        dx = children["relu"].backward(dy) if "relu" in children else dy
        for name in reversed(block._body):
            dx = children[name].backward(dx)
        return dx

    return backward


def without_body(plain: Any) -> Any:
    def backward(block: nn.Residual, dy: Any) -> Any:
        children = dict(block.named_children())
        g = children["relu"].backward(dy) if "relu" in children else dy
        dx = g
        for name in reversed(block._body):
            dx = children[name].backward(dx)
        return children[block._shortcut].backward(g)

    return backward


def shortcut_before_relu(plain: Any) -> Any:
    """The shortcut's gradient passes by the last ReLU."""

    def backward(block: nn.Residual, dy: Any) -> Any:
        children = dict(block.named_children())
        dx = children["relu"].backward(dy)
        for name in reversed(block._body):
            dx = children[name].backward(dx)
        return children[block._shortcut].backward(dy) + dx

    return backward


def shortcut_left_out(plain: Any) -> Any:
    def forward(block: nn.Residual, x: Any) -> Any:
        children = dict(block.named_children())
        children[block._shortcut](x)
        for name in block._body:
            x = children[name](x)
        return children["relu"](x) if "relu" in children else x

    return forward


def relu_before_sum(plain: Any) -> Any:
    def forward(block: nn.Residual, x: Any) -> Any:
        children = dict(block.named_children())
        y = x
        for name in block._body:
            y = children[name](y)
        return children[block._shortcut](x) + children["relu"](y)

    return forward


def skips_last(plain: Any) -> Any:
    def backward(sequence: nn.Sequential, dy: Any) -> Any:
        children = [child for _, child in sequence.named_children()]
        for child in reversed(children[:-1] if isinstance(children[-1], nn.BatchNorm2d) else children):
            dy = child.backward(dy)
        return dy

    return backward


def accumulates(plain: Any) -> Any:
    def backward(layer: Any, dy: Any) -> Any:
        before = layer.weight.grad.copy()
        dx = plain(layer, dy)
        layer.weight.grad += np.nan_to_num(before) + 1e-3
        return dx

    return backward


def leaves_no_bias(plain: Any) -> Any:
    def backward(layer: Any, dy: Any) -> Any:
        before = layer.bias.grad.copy()
        dx = plain(layer, dy)
        layer.bias.grad[...] = before
        return dx

    return backward


def raises_key_error(plain: Any) -> Any:
    def backward(layer: Any, dy: Any) -> Any:
        raise KeyError("saved")

    return backward


def counts_nothing(plain: Any) -> Any:
    def update(norm: nn.BatchNorm2d, *args: Any) -> None:
        count = norm.num_batches_tracked.copy()
        plain(norm, *args)
        norm.num_batches_tracked[...] = count

    return update


def as_if_training(plain: Any) -> Any:
    def forward(layer: Any, x: Any) -> Any:
        training, layer.training = layer.training, True
        try:
            return plain(layer, x)
        finally:
            layer.training = training

    return forward


CLASSES: list[Row] = [
    ("gradient of the shortcut lost", nn.Residual, "backward", without_shortcut, "Residual", NORM),
    ("gradient of the shortcut lost", nn.Residual, "backward", without_shortcut, "Residual", PREACTIVATION),
    ("gradient of the shortcut lost", nn.Residual, "backward", without_shortcut, "Residual", PROJECTION),
    ("gradient of the body lost", nn.Residual, "backward", without_body, "Residual", TINY),
    ("gradient of the body lost", nn.Residual, "backward", without_body, "Residual", BOTTLENECK),
    ("shortcut's gradient beside ReLU", nn.Residual, "backward", shortcut_before_relu, "Residual", CIFAR),
    ("shortcut left out", nn.Residual, "forward", shortcut_left_out, "Residual Sum", CIFAR),
    ("shortcut left out", nn.Residual, "forward", shortcut_left_out, "Residual Sum", PREACTIVATION),
    ("ReLU before the sum", nn.Residual, "forward", relu_before_sum, "Residual Sum", PROJECTION),
    ("last layer skipped", nn.Sequential, "backward", skips_last, "Sequential Residual", PROJECTION),
    ("gradient added to what is there", nn.Conv2d, "backward", accumulates, "Conv2d", NORM),
    ("no gradient of the bias", nn.Linear, "backward", leaves_no_bias, "Linear", DROPOUT),
    ("KeyError", nn.MaxPool2d, "backward", raises_key_error, "MaxPool2d", LARGE),
    ("KeyError", nn.Flatten, "backward", raises_key_error, "Flatten", NORM),
    ("batches not counted", nn.BatchNorm2d, "_update_running_stats", counts_nothing, "BatchNorm2d", NORM),
    (
        "batches not counted",
        nn.BatchNorm2d,
        "_update_running_stats",
        counts_nothing,
        "BatchNorm2d",
        {**NORM, "bn_momentum": None},
    ),
    ("evaluation by the batch", nn.BatchNorm2d, "forward", as_if_training, "BatchNorm2d", PREACTIVATION),
    ("drops in evaluation", nn.Dropout, "forward", as_if_training, "Dropout", DROPOUT),
    ("identity's gradient doubled", nn.Identity, "backward", on_result(lambda dx: 2 * dx), "Identity Residual", NORM),
    ("identity negative", nn.Identity, "forward", on_result(lambda y: -y), "Identity Residual", PREACTIVATION),
]


LOSSES: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("sum for the mean", "forward", on_result(lambda value: 4 * value), TINY),
    ("gradient not divided", "backward", on_result(lambda dz: 4 * dz), NORM),
    ("gradient not divided", "backward", on_result(lambda dz: 4 * dz), WEIGHTS),
    ("gradient of the first image alone", "backward", on_result(lambda dz: dz * np.eye(len(dz))[:, :1]), SMOOTH),
    ("gradient transposed in sign", "backward", on_result(lambda dz: -dz), CIFAR),
]


def layer_bugs() -> Iterator[Bug]:
    """Yield the bugs in layers and in the loss."""
    for row in CLASSES:
        yield from bugs_of(row[1].__name__, [row])
    expected = "loss CrossEntropyLoss"
    for name, attribute, make, settings in LOSSES:
        yield from bugs_of("CrossEntropyLoss", [(name, nn.CrossEntropyLoss, attribute, make, expected, settings)])
