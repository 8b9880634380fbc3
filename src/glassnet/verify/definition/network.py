"""The network of a spec, from its papers, as one function that keeps all that it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from glassnet.architecture import ResNetSpec
from glassnet.errors import GlassnetError

Array = NDArray[Any]


def initial_weights(spec: ResNetSpec, keys: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Return He-normal kernels and matrices (He et al. 2015b), drawn one after the other, for the keys of a state."""
    rng, weights = np.random.default_rng(seed), {}
    last = "bn3.weight" if spec.block == "bottleneck" else "bn2.weight"
    for key, array in keys.items():
        if array.ndim > 1:
            weights[key] = rng.standard_normal(array.shape) * sqrt(2 / prod(array.shape[1:]))
        else:
            is_one = key.endswith(("weight", "running_var")) and not (spec.zero_init and key.endswith(last))
            weights[key] = np.full(array.shape, is_one, array.dtype)
    return weights


@dataclass
class DefinedPass:
    """One pass through the network of a spec; ``tensors`` has every output under its name.

    :param state: parameters and buffers by key; BatchNorm's buffers are moved in training mode.
    :param mask: the factors of the dropout layer.
    """

    spec: ResNetSpec
    state: Mapping[str, Tensor]
    training: bool
    mask: Tensor | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)  # those of the state that were read

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, C, H, W)."""
        spec, is_large = self.spec, self.spec.stem == "7x7"
        x = self.convolution("conv1", x, spec.width, 2 if is_large else 1, 7 if is_large else 3)
        if not spec.preactivation:
            x = self.relu("relu", self.normalization("bn1", x))
        if is_large:
            x = self.pool(x, 3)
        for stage, count in enumerate(spec.blocks):
            for number in range(count):
                stride = 2 if stage and not number else 1
                x = self.block(f"layer{stage + 1}.{number}", x, spec.width * 2**stage, stride)
        if spec.preactivation:
            x = self.relu("relu", self.normalization("bn", x))
        return self.head(x if is_large else self.pool(x, 2))

    def block(self, name: str, x: Tensor, width: int, stride: int) -> Tensor:
        """Return the output of a residual block: He et al. 2015, fig. 5; pre-activation: 2016, fig. 1b."""
        spec = self.spec
        basic, bottleneck = [(width, stride, 3), (width, 1, 3)], [(width, 1, 1), (width, stride, 3), (4 * width, 1, 1)]
        layers = basic if spec.block == "basic" else bottleneck
        y = x
        for number, (channels, step, size) in enumerate(layers, start=1):
            conv, bn, relu = (f"{name}.{layer}{number}" for layer in ("conv", "bn", "relu"))
            if spec.preactivation:
                y = self.convolution(conv, self.relu(relu, self.normalization(bn, y)), channels, step, size)
            else:
                y = self.normalization(bn, self.convolution(conv, y, channels, step, size))
                y = y if number == len(layers) else self.relu(relu, y)
        if spec.skip:
            y = self.shortcut(name, x, y.shape[1], stride) + y
            y = y if spec.preactivation else self.record(f"{name}.sum", y)
        return self.record(name, y if spec.preactivation else self.relu(f"{name}.relu", y))

    def shortcut(self, name: str, x: Tensor, channels: int, stride: int) -> Tensor:
        """Return x where the shape stays, else option A or option B of He et al. 2015."""
        if stride == 1 and channels == x.shape[1]:
            return self.record(f"{name}.shortcut", x)
        if self.spec.shortcut == "zero-pad":
            new = channels - x.shape[1]
            padded = functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new - new // 2))
            return self.record(f"{name}.shortcut", padded)
        x = self.convolution(f"{name}.downsample.0", x, channels, stride, 1)
        return x if self.spec.preactivation else self.normalization(f"{name}.downsample.1", x)

    def pool(self, x: Tensor, size: int) -> Tensor:
        """Return images of half the height and width."""
        if self.spec.pool == "max":
            return self.record("pool", functional.max_pool2d(x, size, 2, size // 2 if size == 3 else 0))
        if self.spec.pool == "avg":
            return self.record("pool", functional.avg_pool2d(x, size, 2, size // 2 if size == 3 else 0))
        if self.spec.pool == "stride":
            x = self.normalization("pool.bn", self.convolution("pool.conv", x, x.shape[1], 2, 3))
            return self.relu("pool.relu", x)
        return x

    def head(self, x: Tensor) -> Tensor:
        """Return the logits of the last feature maps."""
        if self.spec.head == "average":
            x = self.record("avgpool", x.mean((2, 3), keepdim=True))
        x = self.record("flatten", x.flatten(1))
        if self.spec.dropout:
            x = self.record("dropout", x if self.mask is None or not self.training else x * self.mask)
        w, b = (self.parameter(f"fc.{name}", shape) for name, shape in self._of_head(x.shape[1]))
        return self.record("fc", functional.linear(x, w, b))

    def _of_head(self, features: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return ("weight", (self.spec.classes, features)), ("bias", (self.spec.classes,))

    def convolution(self, name: str, x: Tensor, channels: int, stride: int, size: int) -> Tensor:
        """Return a convolution whose output has ``channels``, with a bias if no BatchNorm follows it."""
        w = self.parameter(f"{name}.weight", (channels, x.shape[1], size, size))
        b = self.parameter(f"{name}.bias", (channels,)) if self.spec.norm == "none" else None
        return self.record(name, functional.conv2d(x, w, b, stride, size // 2))

    def normalization(self, name: str, x: Tensor) -> Tensor:
        """Return x normalized (Ioffe & Szegedy 2015), or as it is."""
        if self.spec.norm == "none":
            return x
        shape = (x.shape[1],)
        w, b, mean, var = (
            self.parameter(f"{name}.{key}", shape) for key in ("weight", "bias", "running_mean", "running_var")
        )
        count = self.parameter(f"{name}.num_batches_tracked", ())
        if self.training:
            count += 1
        momentum = 1 / max(1, int(count)) if self.spec.bn_momentum is None else self.spec.bn_momentum
        return self.record(name, functional.batch_norm(x, mean, var, w, b, self.training, momentum, self.spec.bn_eps))

    def relu(self, name: str, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return self.record(name, functional.relu(x))

    def record(self, name: str, y: Tensor) -> Tensor:
        """Keep an output, and return a view of it, whose gradient is its own."""
        self.tensors[name] = y.view_as(y)
        return self.tensors[name]

    def parameter(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """Return a parameter or buffer.

        :raises GlassnetError: if the state has none of this key and shape.
        """
        self.keys.add(key)
        received = tuple(self.state[key].shape) if key in self.state else "none"
        if received != shape:
            raise GlassnetError(f"{key} of {self.spec.preset} must have shape {shape} by definition. Got {received}.")
        return self.state[key]
