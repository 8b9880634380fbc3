"""torch's own layers under ``assemble``: the same networks, differentiated by autograd."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import glassnet as gn
from glassnet.architecture import ResNetSpec, assemble
from glassnet.data import make_rng
from glassnet.engines import Network

torch.set_num_threads(1)

Array = NDArray[Any]


class Residual(nn.Module):
    """y = activation(shortcut(x) + body(x)), the body's layers being children of the block itself."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module | None, activation: nn.Module | None) -> None:
        super().__init__()
        self.names = [name for name, _ in body.named_children()]
        for name, layer in body.named_children():
            self.add_module(name, layer)
        has_parameters = shortcut is not None and any(True for _ in shortcut.parameters())
        self.carries = "downsample" if has_parameters else "shortcut"
        self.add_module(self.carries, shortcut)
        self.relu = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for name in self.names:
            y = getattr(self, name)(y)
        shortcut = getattr(self, self.carries)
        y = y if shortcut is None else shortcut(x) + y
        return y if self.relu is None else self.relu(y)


class ZeroPadShortcut(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        before = (out_channels - in_channels) // 2
        self.channels, self.stride = (before, out_channels - in_channels - before), stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.channels))


class Dropout(nn.Module):
    """Masks drawn in NumPy, as both engines do."""

    generator: np.random.Generator

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        mask = torch.from_numpy(self.generator.random(tuple(x.shape)) >= self.p)
        return x * mask / (1 - self.p)


LAYERS = "Conv2d BatchNorm2d ReLU MaxPool2d AvgPool2d AdaptiveAvgPool2d Flatten Linear Identity Sequential"
NAMESPACE = SimpleNamespace(
    **{name: getattr(nn, name) for name in LAYERS.split()},
    Residual=Residual,
    ZeroPadShortcut=ZeroPadShortcut,
    Dropout=Dropout,
)


def tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))


def twin(network: Network, seed: int = 42) -> Any:
    """The torch module with a network's weights, buffers and, where ``seed`` is its own, dropout masks."""
    module = assemble(network.spec, NAMESPACE).to(torch.float64 if network.dtype == np.float64 else torch.float32)
    module.load_state_dict({key: tensor(array) for key, array in network.state_dict().items()})
    for part in module.modules():
        if isinstance(part, Dropout):
            part.generator = make_rng(seed, "dropout")
    return module


def batch(spec: ResNetSpec, count: int = 6, seed: int = 0, dtype: str = "float64") -> tuple[Array, Array]:
    """Random images and labels for a network."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, spec.in_channels, *spec.size)).astype(dtype)
    return images, rng.integers(spec.classes, size=count)


def worn(network: Network, seed: int = 1) -> Network:
    """The network with other weights, biases and running statistics than the tame initial ones."""
    rng = np.random.default_rng(seed)
    state = network.state_dict()
    for key, array in state.items():
        if array.dtype.kind == "f":
            noise = 0.1 * rng.standard_normal(array.shape)
            state[key] = array * (1 + np.abs(noise)) if key.endswith("running_var") else array + noise
    network.load_state_dict(state)
    return network


def build64(spec: str | ResNetSpec, **changes: Any) -> Network:
    if isinstance(spec, str):
        spec = gn.spec(spec, **changes)
    return worn(gn.build(spec, dtype="float64"))
