"""Bugs in what both engines share: the architecture and the initial weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassnet import architecture, nn
from glassnet.verify import parity
from planted_bugs.planting import (
    AVERAGE,
    BOTTLENECK,
    CIFAR,
    DROPOUT,
    LARGE,
    LARGE_AVERAGE,
    NORM,
    PLAIN,
    PREACTIVATION,
    PROJECTION,
    TINY,
    Row,
)


def with_fields(**changes: Any) -> Any:
    """Return a maker of functions of ``assemble`` that read another spec."""
    return lambda plain: lambda spec, *args, **named: plain(changed(spec, changes), *args, **named)


def changed(spec: Any, changes: dict[str, Any]) -> Any:
    """Return a spec with fields that its checks would refuse, perhaps."""
    copy = object.__new__(type(spec))
    vars(copy).update({**vars(spec), **changes})
    return copy


def strides_first(plain: Any) -> Any:
    """The bottleneck's first 1×1 convolution strides, as in the paper."""

    def block(spec: Any, layers: Any, before: int, channels: int, stride: int) -> Any:
        original = architecture._convolution
        taken = []

        def convolution(spec: Any, layers: Any, b: int, c: int, step: int = 1, kernel_size: int = 3) -> Any:
            taken.append(step)
            return original(spec, layers, b, c, stride if len(taken) == 1 else 1, kernel_size)

        if spec.block != "bottleneck":
            return plain(spec, layers, before, channels, stride)
        architecture._convolution = convolution
        try:
            body = plain(changed(spec, {"skip": False}), layers, before, channels, stride)
        finally:
            architecture._convolution = original
        shortcut = architecture._shortcut(spec, layers, before, channels * spec.expansion, stride)
        if not hasattr(body, "named_children"):  # records of gn.graph
            return plain(spec, layers, before, channels, stride)
        names = [name for name, _ in body.named_children() if name != "relu"]
        children = dict(body.named_children())
        return layers.Residual(
            architecture._sequential(layers, {n: children[n] for n in names}), shortcut, layers.ReLU()
        )

    return block


def first_norm_only(plain: Any) -> Any:
    return lambda spec, layers, name, channels: plain(spec, layers, name, channels) if name != "1" else {}


ARCHITECTURE: list[Row] = [
    (
        "bn_eps ignored",
        architecture,
        "_normalization",
        with_fields(bn_eps=1e-5),
        "BatchNorm2d",
        {**NORM, "bn_eps": 1e-2},
    ),
    (
        "bn_momentum ignored",
        architecture,
        "_normalization",
        with_fields(bn_momentum=0.1),
        "BatchNorm2d",
        {**NORM, "bn_momentum": 0.3},
    ),
    (
        "momentum None as 0.1",
        architecture,
        "_normalization",
        with_fields(bn_momentum=0.1),
        "BatchNorm2d",
        {**NORM, "bn_momentum": None},
    ),
    (
        "projection without BatchNorm",
        architecture,
        "_normalization",
        first_norm_only,
        "layer2.0.downsample.1",
        PROJECTION,
    ),
    (
        "projection for option A",
        architecture,
        "_shortcut",
        with_fields(shortcut="projection"),
        "layer2.0.downsample.0 downsample",
        CIFAR,
    ),
    (
        "option A for a projection",
        architecture,
        "_shortcut",
        with_fields(shortcut="zero-pad"),
        "layer2.0.downsample.0",
        PROJECTION,
    ),
    (
        "pre-activated projection normalized",
        architecture,
        "_shortcut",
        with_fields(preactivation=False),
        "downsample.1",
        {**PREACTIVATION, "shortcut": "projection"},
    ),
    ("blocks without their shortcut", architecture, "_block", with_fields(skip=False), "layer1.0.shortcut", NORM),
    ("plain network with shortcuts", architecture, "_block", with_fields(skip=True), "layer1.0.shortcut", PLAIN),
    (
        "blocks not pre-activated",
        architecture,
        "_block",
        with_fields(preactivation=False),
        "layer1.0",
        {**PREACTIVATION, "norm": "none"},
    ),
    ("maximum for the mean", architecture, "_pool", with_fields(pool="max"), "AvgPool2d MaxPool2d", AVERAGE),
    ("mean for the maximum", architecture, "_pool", with_fields(pool="avg"), "AvgPool2d MaxPool2d", LARGE),
    (
        "pool of 2 in a large stem",
        architecture,
        "_pool",
        lambda plain: lambda spec, layers, channels, kernel_size: plain(spec, layers, channels, 2),
        "MaxPool2d",
        LARGE,
    ),
    ("no dropout", architecture, "_head", with_fields(dropout=0.0), "dropout", DROPOUT),
    ("dropout 0.5", architecture, "_head", with_fields(dropout=0.5), "Dropout", DROPOUT),
    ("mean before a flatten head", architecture, "_head", with_fields(head="average"), "fc. avgpool", TINY),
    (
        "stem of stride 1",
        architecture,
        "_convolution",
        lambda plain: (
            lambda spec, layers, b, c, stride=1, kernel_size=3: plain(
                spec, layers, b, c, 1 if kernel_size == 7 else stride, kernel_size
            )
        ),
        "conv1",
        LARGE_AVERAGE,
    ),
    (
        "kernels of the stem 3×3",
        architecture,
        "_convolution",
        lambda plain: (
            lambda spec, layers, b, c, stride=1, kernel_size=3: plain(
                spec, layers, b, c, stride, 3 if kernel_size == 7 else kernel_size
            )
        ),
        "conv1",
        LARGE,
    ),
    ("bias before BatchNorm", architecture, "_convolution", with_fields(norm="none"), "conv1.bias", NORM),
    ("bottleneck strides in its first 1×1", architecture, "_block", strides_first, "Conv2d", BOTTLENECK),
    ("pool.bn left out", architecture, "_pool", with_fields(norm="none"), "pool.bn", {**NORM, "pool": "stride"}),
    (
        "widths do not double",
        architecture.ResNetSpec,
        "channels",
        lambda plain: property(lambda spec: (spec.width,) * len(spec.blocks)),
        "layer2.0.conv1",
        CIFAR,
    ),
    (
        "fan-out for fan-in",
        nn.Conv2d,
        "reset_parameters",
        lambda plain: (
            lambda conv, rng: conv.weight.data.__setitem__(
                ...,
                rng.standard_normal(conv.weight.data.shape)
                * np.sqrt(2 / (conv.weight.data.size / conv.weight.data.shape[1])),
            )
        ),
        "initial weights",
        CIFAR,
    ),
    (
        "Xavier's weights",
        nn.Linear,
        "reset_parameters",
        lambda plain: (
            lambda fc, rng: fc.weight.data.__setitem__(
                ..., rng.standard_normal(fc.weight.data.shape) * np.sqrt(2 / sum(fc.weight.data.shape))
            )
        ),
        "initial weights",
        TINY,
    ),
    (
        "zero_init ignored",
        parity,
        "initial_state_dict",
        lambda plain: lambda spec, seed: plain(spec.replace(zero_init=False), seed),
        "initial weights",
        {**NORM, "zero_init": True},
    ),
]
