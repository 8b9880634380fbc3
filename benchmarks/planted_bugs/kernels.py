"""Bugs in the functions of the NumPy engine's layers, fast and plain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from glassnet.nn import functional
from glassnet.nn.kernels import Kernels
from planted_bugs.planting import (
    AVERAGE,
    BOTTLENECK,
    CIFAR,
    DROPOUT,
    LARGE,
    LARGE_AVERAGE,
    NORM,
    OBLONG,
    PLAIN,
    PREACTIVATION,
    PROJECTION,
    STRIDE,
    TINY,
    Bug,
    describe,
    on_argument,
    on_part,
    on_result,
)


def dy_as_result(plain: Any) -> Any:
    """Hand back dy itself."""
    return lambda *args: args[-2].copy(order="K")


def kernel(name: str, attribute: str, make: Any, expected: str, settings: dict[str, Any]) -> Iterator[Bug]:
    """Yield a bug in a fast kernel, and the same one in the plain function."""
    names = frozenset(expected.split())
    is_static = isinstance(vars(Kernels)[attribute], staticmethod)
    fast = (lambda plain: staticmethod(make(plain))) if is_static else make
    for kind, place, maker in (("fast", Kernels, fast), ("plain", functional, make)):
        chosen = {**settings, "kernels": kind}
        yield Bug(f"{name} ({describe(chosen)})", place, attribute, maker, names, chosen)


def transposed(dw: Any) -> Any:
    return np.ascontiguousarray(dw.transpose(0, 1, 3, 2))


def without_last_row(dx: Any) -> Any:
    dx = dx.copy(order="K")
    dx[..., -1, :] = 0
    return dx


def moved_right(y: Any) -> Any:
    return np.roll(y, 1, axis=-1)


KERNELS: list[tuple[str, str, Any, str, dict[str, Any]]] = [
    ("output one pixel to the right", "conv2d", on_part(0, moved_right), "Conv2d", OBLONG),
    ("bias is left out", "conv2d", on_argument(2, lambda b: None if b is None else 0 * b), "Conv2d", TINY),
    ("kernel flipped forward", "conv2d", on_argument(1, lambda w: w[:, :, ::-1, ::-1]), "Conv2d", PROJECTION),
    ("dw transposed", "conv2d_backward", on_part(1, transposed), "Conv2d", NORM),
    ("dx without its last row", "conv2d_backward", on_part(0, without_last_row), "Conv2d", LARGE),
    ("dx a little too large", "conv2d_backward", on_part(0, lambda dx: dx * 1.00001), "Conv2d", BOTTLENECK),
    ("db missing", "conv2d_backward", on_part(2, lambda db: 0 * db), "Conv2d", STRIDE),
    ("db the mean", "conv2d_backward", on_part(2, lambda db: db / 4), "Conv2d", {**CIFAR, "norm": "none"}),
    ("gamma left out", "batch_norm", on_argument(1, lambda g: 0 * g + 1), "BatchNorm2d", PREACTIVATION),
    ("unbiased variance kept as biased", "batch_norm", on_part(2, lambda s: (s[0], s[1] * 1.02)), "BatchNorm2d", NORM),
    ("output shifted", "batch_norm", on_part(0, lambda y: y + 1e-3), "BatchNorm2d", {**PLAIN, "bn_eps": 1e-2}),
    ("dx without its last row", "batch_norm_backward", on_part(0, without_last_row), "BatchNorm2d", NORM),
    (
        "dgamma and dbeta exchanged",
        "batch_norm_backward",
        on_result(lambda r: (r[0], r[2], r[1])),
        "BatchNorm2d",
        CIFAR,
    ),
    (
        "dx is dy less its mean",
        "batch_norm_backward",
        lambda plain: lambda *a: (a[-2] - a[-2].mean((0, 2, 3), keepdims=True), *plain(*a)[1:]),
        "BatchNorm2d",
        PREACTIVATION,
    ),
    ("dbeta the mean", "batch_norm_backward", on_part(2, lambda db: db / 64), "BatchNorm2d", PROJECTION),
    (
        "evaluation with variance + 1e-4",
        "batch_norm_eval",
        on_argument(4, lambda v: v + 1e-4),
        "BatchNorm2d",
        PREACTIVATION,
    ),
    ("evaluation without the mean", "batch_norm_eval", on_argument(3, lambda m: 0 * m), "BatchNorm2d", BOTTLENECK),
    ("variance takes the biased one", "update_running_stats", on_argument(3, lambda n: 10**12), "BatchNorm2d", NORM),
    (
        "momentum of the old",
        "update_running_stats",
        on_argument(4, lambda m: 1 - m),
        "BatchNorm2d",
        {**NORM, "bn_momentum": 0.3},
    ),
    (
        "running mean stays",
        "update_running_stats",
        lambda plain: lambda *a: (a[0], plain(*a)[1]),
        "BatchNorm2d",
        {**NORM, "bn_momentum": None},
    ),
    ("leaky", "relu", lambda plain: lambda *a: (np.where(a[-1] > 0, a[-1], 0.01 * a[-1]), plain(*a)[1]), "ReLU", CIFAR),
    ("backward without the mask", "relu_backward", dy_as_result, "ReLU", TINY),
    ("backward masked by dy", "relu_backward", lambda plain: lambda *a: np.maximum(a[-2], 0), "ReLU", NORM),
    ("gradient one pixel to the right", "max_pool2d_backward", on_result(moved_right), "MaxPool2d", TINY),
    ("gradient halved", "max_pool2d_backward", on_result(lambda dx: dx / 2), "MaxPool2d", LARGE),
    (
        "smallest pixel",
        "max_pool2d",
        lambda plain: lambda *a: (lambda y, s: (-y, s))(*plain(*[-x if isinstance(x, np.ndarray) else x for x in a])),
        "MaxPool2d",
        NORM,
    ),
    ("sum for the mean", "avg_pool2d", on_part(0, lambda y: 4 * y), "AvgPool2d", AVERAGE),
    (
        "padding left out of the count",
        "avg_pool2d",
        lambda plain: lambda *a: plain(*[False if x is True else x for x in a]),
        "AvgPool2d",
        LARGE_AVERAGE,
    ),
    ("gradient not divided", "avg_pool2d_backward", on_result(lambda dx: 4 * dx), "AvgPool2d", AVERAGE),
    ("gradient of the border lost", "avg_pool2d_backward", on_result(without_last_row), "AvgPool2d", LARGE_AVERAGE),
    ("sum for the mean", "adaptive_avg_pool2d", on_part(0, lambda y: 2 * y), "AdaptiveAvgPool2d", CIFAR),
    ("gradient not divided", "adaptive_avg_pool2d_backward", on_result(lambda dx: 2 * dx), "AdaptiveAvgPool2d", LARGE),
    ("body left out", "add", lambda plain: lambda *a: a[-2].copy(order="K"), "Residual Sum", NORM),
    ("sum a little too large", "add", on_result(lambda y: 1.0001 * y), "Residual Sum", PREACTIVATION),
    ("zero-pad shortcut lost", "zero_pad_shortcut", on_part(0, lambda y: 0 * y), "ZeroPadShortcut", CIFAR),
    (
        "zero-pad channels turned",
        "zero_pad_shortcut",
        on_part(0, lambda y: np.roll(y, 1, axis=1)),
        "ZeroPadShortcut",
        PREACTIVATION,
    ),
    ("zero-pad gradient lost", "zero_pad_shortcut_backward", on_result(lambda dx: 0 * dx), "ZeroPadShortcut", CIFAR),
    ("channels last", "flatten", on_result(lambda r: (r[0][:, ::-1].copy(), r[1])), "Flatten", TINY),
    ("gradient in another order", "flatten_backward", on_result(lambda dx: dx[:, ::-1].copy()), "Flatten", AVERAGE),
    ("not scaled", "dropout_mask", on_result(lambda m: m * 0.7), "Dropout", DROPOUT),
    ("gradient without the mask", "dropout_backward", dy_as_result, "Dropout", DROPOUT),
    ("bias left out", "linear", on_argument(2, lambda b: None if b is None else 0 * b), "Linear", TINY),
    ("db the mean", "linear_backward", on_part(2, lambda db: db / 4), "Linear", CIFAR),
    ("dw a little too large", "linear_backward", on_part(1, lambda dw: dw * 1.00001), "Linear", DROPOUT),
    ("dx negative", "linear_backward", on_part(0, lambda dx: -dx), "Linear", NORM),
]


def kernel_bugs() -> Iterator[Bug]:
    """Yield the bugs in fast kernels and in plain functions."""
    for name, attribute, make, expected, settings in KERNELS:
        yield from kernel(f"{attribute}: {name}", attribute, make, expected, settings)
