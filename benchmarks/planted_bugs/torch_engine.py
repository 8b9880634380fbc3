"""Bugs in the PyTorch engine."""

from __future__ import annotations

from typing import Any

import torch

from glassnet.engines import torch_layers, torch_optimizer, torch_trainer
from planted_bugs.planting import (
    BOTTLENECK,
    CIFAR,
    DROPOUT,
    LARGE,
    LARGE_AVERAGE,
    NORM,
    OBLONG,
    PREACTIVATION,
    PROJECTION,
    SMOOTH,
    STRIDE,
    TINY,
    WEIGHTS,
    Row,
    fixed,
    on_argument,
    on_result,
)
from planted_bugs.training import ADAM, ADAMW, CLIP, EMA, SHARDS, pooled


def torch_class(base: str, forward: Any) -> Any:
    """Return a maker of a torch layer with another forward pass."""
    return lambda plain: type(base, (plain,), {"forward": forward(plain)})


def of_blocks(combine: Any) -> Any:
    """Return a maker of a torch block that combines input, body and layers in another way."""

    def make(plain: Any) -> Any:
        def forward(block: Any, x: Any) -> Any:
            y = x
            for name in block.body_names:
                y = block.get_submodule(name)(y)
            shortcut = block.get_submodule(block.shortcut_name)(x) if block.shortcut_name else 0 * y
            relu = block.get_submodule("relu") if block.activation_name else torch.nn.Identity()
            return combine(shortcut, y, relu)

        return type("Residual", (plain,), {"forward": forward})

    return make


def after(change: Any) -> Any:
    """Return a maker of a torch layer whose output is changed."""
    return lambda plain: type(
        plain.__name__, (plain,), {"forward": lambda layer, x: change(layer, plain.forward(layer, x))}
    )


def made_with(**named: Any) -> Any:
    """Return a maker of a torch layer that is made with other arguments."""

    def make(plain: Any) -> Any:
        def initialize(layer: Any, *args: Any, **given: Any) -> None:
            plain.__init__(layer, *args, **{**given, **named})

        return type(plain.__name__, (plain,), {"__init__": initialize})

    return make


def norm_with(eps: float = 1.0, momentum: Any = "same") -> Any:
    def make(plain: Any) -> Any:
        def initialize(layer: Any, channels: int, own_eps: float, own_momentum: Any) -> None:
            plain.__init__(layer, channels, own_eps * eps, own_momentum if momentum == "same" else momentum)

        return type("BatchNorm2d", (plain,), {"__init__": initialize})

    return make


def detached_variance(layer: Any, x: Any) -> Any:
    y = torch.nn.BatchNorm2d.forward(layer, x)
    if not layer.training:
        return y
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    scale = layer.weight[:, None, None] / (var.detach() + layer.eps).sqrt()
    return (x - mean) * scale + layer.bias[:, None, None]


TORCH: list[Row] = [
    (
        "kernel flipped",
        torch_layers,
        "Conv2d",
        torch_class("Conv2d", lambda plain: lambda c, x: c._conv_forward(x, c.weight.flip(2, 3), c.bias)),
        "Conv2d",
        OBLONG,
    ),
    (
        "strided 1×1 from the second pixel",
        torch_layers,
        "Conv2d",
        torch_class(
            "Conv2d",
            lambda plain: (
                lambda c, x: plain.forward(c, x.roll(1, 3) if c.kernel_size == (1, 1) and c.stride != (1, 1) else x)
            ),
        ),
        "Conv2d",
        PROJECTION,
    ),
    (
        "no gradient of the input",
        torch_layers,
        "Conv2d",
        torch_class("Conv2d", lambda plain: lambda c, x: plain.forward(c, x.detach() + 0 * x)),
        "Conv2d",
        CIFAR,
    ),
    ("eps 1e-6", torch_layers, "BatchNorm2d", norm_with(eps=0.1), "BatchNorm2d", NORM),
    (
        "momentum 0.1 for None",
        torch_layers,
        "BatchNorm2d",
        norm_with(momentum=0.1),
        "BatchNorm2d",
        {**NORM, "bn_momentum": None},
    ),
    (
        "variance without gradient",
        torch_layers,
        "BatchNorm2d",
        torch_class("BatchNorm2d", lambda plain: detached_variance),
        "BatchNorm2d",
        PREACTIVATION,
    ),
    ("ReLU before the sum", torch_layers, "Residual", of_blocks(lambda s, y, relu: s + relu(y)), "Residual Sum", NORM),
    ("shortcut left out", torch_layers, "Residual", of_blocks(lambda s, y, relu: relu(y)), "Residual Sum", CIFAR),
    (
        "shortcut without gradient",
        torch_layers,
        "Residual",
        of_blocks(lambda s, y, relu: relu(s.detach() + 0 * s + y)),
        "Residual Sum",
        PROJECTION,
    ),
    (
        "body without gradient",
        torch_layers,
        "Residual",
        of_blocks(lambda s, y, relu: relu(s + y.detach() + 0 * y)),
        "Residual Sum",
        PREACTIVATION,
    ),
    (
        "new channels behind",
        torch_layers,
        "ZeroPadShortcut",
        after(lambda layer, y: y.roll(-layer.padding[4], 1)),
        "ZeroPadShortcut",
        CIFAR,
    ),
    (
        "not scaled",
        torch_layers,
        "Dropout",
        after(lambda layer, y: y * (1 - layer.p) if layer.training else y),
        "Dropout",
        DROPOUT,
    ),
    (
        "masks shape by shape",
        torch_layers,
        "Dropout",
        after(lambda layer, y: y.flip(0) if layer.training else y),
        "Dropout",
        DROPOUT,
    ),
    (
        "channels last",
        torch_layers,
        "Flatten",
        torch_class("Flatten", lambda plain: lambda layer, x: x.permute(0, 2, 3, 1).flatten(1)),
        "Flatten",
        STRIDE,
    ),
    ("windows round up", torch_layers, "MaxPool2d", made_with(ceil_mode=True), "MaxPool2d", OBLONG),
    ("padding not counted", torch_layers, "AvgPool2d", made_with(count_include_pad=False), "AvgPool2d", LARGE_AVERAGE),
    (
        "leaky",
        torch_layers,
        "ReLU",
        torch_class("ReLU", lambda plain: lambda layer, x: torch.nn.functional.leaky_relu(x, 1e-3)),
        "ReLU",
        BOTTLENECK,
    ),
    (
        "mean of the rows alone",
        torch_layers,
        "AdaptiveAvgPool2d",
        after(lambda layer, y: y * 1.001),
        "AdaptiveAvgPool2d",
        LARGE,
    ),
    (
        "bias left out",
        torch_layers,
        "Linear",
        torch_class("Linear", lambda plain: lambda layer, x: x @ layer.weight.T + 0 * layer.bias),
        "Linear",
        NORM,
    ),
    ("Nesterov ignored", torch_optimizer, "sgd", fixed(nesterov=False), "sgd", {**NORM, "nesterov": True}),
    ("dampened", torch_optimizer, "sgd", fixed(dampening=0.1), "sgd", TINY),
    ("decay left out", torch_optimizer, "sgd", fixed(weight_decay=0.0), "weight decay", CIFAR),
    ("eps 1e-6", torch_optimizer, "adam", fixed(eps=1e-6), "adam", {**TINY, **ADAM}),
    ("AMSGrad's beta", torch_optimizer, "adam", fixed(beta2=0.99), "adam", {**NORM, **ADAM}),
    (
        "AdamW as Adam",
        torch_optimizer,
        "adamw",
        lambda plain: torch_optimizer.adam,
        "adamw weight decay",
        {**NORM, **ADAMW},
    ),
    (
        "smoothing ignored",
        torch_trainer.torch.nn,
        "CrossEntropyLoss",
        lambda plain: lambda weight, label_smoothing: plain(weight),
        "loss CrossEntropyLoss",
        SMOOTH,
    ),
    (
        "weights ignored",
        torch_trainer.torch.nn,
        "CrossEntropyLoss",
        lambda plain: lambda weight, label_smoothing: plain(None, label_smoothing=label_smoothing),
        "loss CrossEntropyLoss",
        WEIGHTS,
    ),
    ("not clipped", torch_trainer.torch.nn.utils, "clip_grad_norm_", lambda plain: lambda *a: None, "clipping", CLIP),
    (
        "average moves too much",
        torch_trainer.TensorAverage,
        "_move",
        on_argument(1, lambda rate: 1.01 * rate),
        "moving average",
        EMA,
    ),
    ("statistics of parts not weighted", torch_trainer.PartSums, "pop", pooled, "parts", SHARDS),
    (
        "one part of all",
        torch_trainer,
        "part_rows",
        on_result(lambda rows: [slice(0, rows[-1].stop), slice(0, 0)]),
        "parts",
        SHARDS,
    ),
]
