"""What is to be computed: a training step, logits, or one layer, and how much work that is.

A task knows its numbers, not who computes them. Work counts what any implementation needs: a multiply-add is two
floating-point operations, and the gradient wrt the images is not needed. Additions of biases, pooling, shortcuts
and the optimizer do not count: in a whole network they are lost beside the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec, build_uninitialized
from glassnet.verify.golden import Case

Array = NDArray[Any]


@dataclass(frozen=True)
class Work:
    """Floating-point operations, and the bytes that must be read or written at least once, in float32."""

    flops: int
    bytes: int | None = None  # None: of a whole network nobody can say

    @property
    def intensity(self) -> float | None:
        """Operations per byte."""
        return None if self.bytes is None else self.flops / self.bytes


@dataclass(frozen=True)
class Training:
    """A training step: forward with the loss, backward, and SGD with momentum and weight decay."""

    spec: ResNetSpec
    batch_size: int
    name: str = "training step"
    main_pass = "step"

    def small(self) -> Self:
        """The same with few images, to compare what is computed."""
        return replace(self, batch_size=min(4, self.batch_size))

    def state(self) -> dict[str, Array]:
        """Weights and buffers in float64, none of them 0 or 1."""
        return Case(self.spec).state()

    def batch(self, dtype: str) -> tuple[Array, Array]:
        """Images (N, C, H, W) and labels (N,)."""
        return Case(self.spec, dtype, self.batch_size).batch()

    @cached_property
    def work(self) -> dict[str, Work]:
        forward, first = _network_flops(self.spec)
        passes = {"forward": forward, "backward": 2 * forward - first, "step": 3 * forward - first}
        return {name: Work(flops * self.batch_size) for name, flops in passes.items()}


@dataclass(frozen=True)
class Inference(Training):
    """The logits of a batch, in evaluation mode."""

    name: str = "logits"
    main_pass = "forward"

    @cached_property
    def work(self) -> dict[str, Work]:
        return {"forward": Work(_network_flops(self.spec)[0] * self.batch_size)}


def _network_flops(spec: ResNetSpec) -> tuple[int, int]:
    """Of one image's forward pass, and the first convolution's part of it."""
    convolutions = [layer for layer in distinct_layers(spec, 1, repeated=True) if layer.kind == "Conv2d"]
    flops = [layer.work["forward"].flops for layer in convolutions]
    features = next(p for key, p in build_uninitialized(spec).named_parameters() if key == "fc.weight")
    return sum(flops) + 2 * features.data.size, flops[0]


@dataclass(frozen=True)
class Layer:
    """One layer of a network, forward and backward; ``kind`` is its name in ``glassnet.nn``.

    The ``first`` layer of a network needs no gradient wrt the images.
    """

    kind: str
    batch_size: int
    in_shape: tuple[int, int, int]  # (C, H, W)
    out_shape: tuple[int, int, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    first: bool = False
    main_pass = "forward"

    @property
    def name(self) -> str:
        C, H, W = self.in_shape
        stride = "" if self.arguments.get("stride", 1) == 1 else f", stride {self.arguments['stride']}"
        channels = f"{C}→{self.out_shape[0]}" if self.kind == "Conv2d" else f"{C}"
        return f"{self.kind} {channels}, {H}×{W}{stride}"

    def small(self) -> Self:
        """The same with one image, to compare what is computed."""
        return replace(self, batch_size=1)

    def make(self, namespace: Any) -> Any:
        """The layer, of ``glassnet.nn`` or another namespace with its names."""
        return getattr(namespace, self.kind)(**self.arguments)

    def state(self) -> dict[str, Array]:
        """Weights and buffers in float64, none of them 0 or 1."""
        rng = np.random.default_rng(0)
        state: dict[str, Array] = self.make(nn).to(np.float64).state_dict()
        for key, array in state.items():
            if array.dtype == np.float64:
                scale = 1 / np.sqrt(prod(array.shape[1:]))
                state[key] = (
                    rng.uniform(0.5, 1.5, array.shape) if array.ndim == 1 else rng.normal(0, scale, array.shape)
                )
        return state

    def arrays(self, dtype: str) -> tuple[Array, Array]:
        """x (N, C, H, W), and dy in the shape of y."""
        rng = np.random.default_rng(1)
        x, dy = (rng.standard_normal((self.batch_size, *shape)) for shape in (self.in_shape, self.out_shape))
        return x.astype(dtype), dy.astype(dtype)

    @property
    def gemm(self) -> tuple[int, int, int]:
        """The matrix product that a convolution is: M = N·Ho·Wo rows, K = C·k·k long, by N = out_channels columns."""
        out_channels, Ho, Wo = self.out_shape
        return self.batch_size * Ho * Wo, self.in_shape[0] * self.arguments["kernel_size"] ** 2, out_channels

    @property
    def work(self) -> dict[str, Work]:
        x, y = (4 * self.batch_size * prod(shape) for shape in (self.in_shape, self.out_shape))
        if self.kind == "Conv2d":
            flops, weight = 2 * prod(self.gemm), 4 * self.gemm[1] * self.gemm[2]
            gradients = 1 if self.first else 2
            forward = Work(flops, x + weight + y)
            return {"forward": forward, "backward": Work(gradients * flops, gradients * (x + weight) + y)}
        # BatchNorm: a mean, a variance and γ·x̂ + β there; two sums and (dy − … − x̂·…)·… back. ReLU: a comparison.
        each = 7 if self.kind == "BatchNorm2d" else 1
        numbers = self.batch_size * prod(self.in_shape)
        return {"forward": Work(each * numbers, x + y), "backward": Work(each * numbers, 2 * x + y)}


def distinct_layers(spec: ResNetSpec, batch_size: int, *, repeated: bool = False) -> list[Layer]:
    """The convolutions, normalizations and ReLUs of a network in forward order, each once unless ``repeated``."""
    network = build_uninitialized(spec).eval()
    modules = dict(network.named_modules())
    found: list[Layer] = []

    def look(name: str, x: Array, y: Array) -> None:
        module = modules[name]
        arguments: dict[str, Any] = {}
        if isinstance(module, nn.Conv2d):
            window = module.window
            arguments = {
                "in_channels": module.in_channels,
                "out_channels": module.out_channels,
                "kernel_size": window.kernel_size[0],
                "stride": window.stride[0],
                "padding": window.padding[0][0],
                "bias": module.bias is not None,
            }
        elif isinstance(module, nn.BatchNorm2d):
            arguments = {"num_features": module.num_features}
        shapes = x.shape[1:], y.shape[1:]
        layer = Layer(type(module).__name__, batch_size, *shapes, arguments, first=not found)
        if repeated or layer not in found:
            found.append(layer)

    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    names = [name for name, module in modules.items() if isinstance(module, kinds)]
    with nn.module_hooks(network, names, forward=look):
        network(np.zeros((1, spec.in_channels, *spec.size), np.float32))
    return found


Task = Training | Layer
