"""Stand-ins for the networks of other projects: their keys, shapes and forward passes, in PyTorch.

They were written from the structure that the projects document. ``width`` makes them narrower than the originals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # as everywhere in PyTorch

Sizes = Sequence[int]


def convolution(before: int, after: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size, stride, kernel_size // 2, bias=False)


def projection(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(convolution(before, after, 1, stride), nn.BatchNorm2d(after))


class Block(nn.Module):
    """A block of kuangliu's, akamaster's and chenyaofo's networks, which differ in the shortcut and its name."""

    def __init__(self, before: int, channels: int, stride: int, kind: str, shortcut: str) -> None:
        super().__init__()
        if kind == "basic":
            sizes = [(before, channels, 3, stride), (channels, channels, 3, 1)]
        else:
            sizes = [(before, channels, 1, 1), (channels, channels, 3, stride), (channels, 4 * channels, 1, 1)]
        self.depth, after = len(sizes), sizes[-1][1]
        for number, size in enumerate(sizes, start=1):
            self.add_module(f"conv{number}", convolution(*size))
            self.add_module(f"bn{number}", nn.BatchNorm2d(size[1]))
        self.stride, self.padding, self.projection = stride, (after - before) // 2, None
        if shortcut != "pad" and (stride > 1 or before != after):
            self.projection = shortcut
            self.add_module(shortcut, projection(before, after, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.depth + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = F.relu(y) if number < self.depth else y
        if self.projection:
            x = getattr(self, self.projection)(x)
        elif self.padding:  # option A
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """A network with a 3×3 stem, a mean over the pixels, and the last layer under a name of the project's."""

    def __init__(self, blocks: Sizes, width: int, kind: str, shortcut: str, head: str, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(3, width, 3), nn.BatchNorm2d(width)
        before, self.n_stages, self.head = width, len(blocks), head
        for stage, count in enumerate(blocks):
            layers = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(Block(before, width * 2**stage, stride, kind, shortcut))
                before = width * 2**stage * (4 if kind == "bottleneck" else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.add_module(head, nn.Linear(before, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.n_stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


def kuangliu(blocks: Sizes, kind: str = "basic", width: int = 64) -> nn.Module:
    """pytorch-cifar's ResNet: 64 channels, projections under ``shortcut``, the last layer ``linear``."""
    return CifarResNet(blocks, width, kind, "shortcut", "linear")


def akamaster(blocks: Sizes, width: int = 16) -> nn.Module:
    """pytorch_resnet_cifar10's ResNet: 16 channels, zero-padded shortcuts, the last layer ``linear``."""
    return CifarResNet(blocks, width, "basic", "pad", "linear")


def chenyaofo(blocks: Sizes, classes: int = 10, width: int = 16) -> nn.Module:
    """pytorch-cifar-models' ResNet: 16 channels, projections under ``downsample``, the last layer ``fc``."""
    return CifarResNet(blocks, width, "basic", "downsample", "fc", classes)


class NormalizedConvolution(nn.Module):
    """Transformers' convolution with its BatchNorm and an activation."""

    def __init__(self, *sizes: int, relu: bool = True) -> None:
        super().__init__()
        self.convolution, self.normalization = convolution(*sizes), nn.BatchNorm2d(sizes[1])
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.normalization(self.convolution(x)))


class TransformersBlock(nn.Module):
    """A block of Transformers' ResNet."""

    def __init__(self, before: int, after: int, stride: int, kind: str) -> None:
        super().__init__()
        has_shortcut = stride > 1 or before != after
        self.shortcut: nn.Module = nn.Identity()
        if has_shortcut:
            self.shortcut = NormalizedConvolution(before, after, 1, stride, relu=False)
        sizes = [(before, after, 3, stride), (after, after, 3, 1)]
        if kind == "bottleneck":
            inner = after // 4
            sizes = [(before, inner, 1, 1), (inner, inner, 3, stride), (inner, after, 1, 1)]
        last = len(sizes) - 1
        self.layer = nn.Sequential(*(NormalizedConvolution(*s, relu=i < last) for i, s in enumerate(sizes)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.layer(x) + self.shortcut(x))


def _holder(**children: nn.Module) -> nn.Module:
    """Return a module that only gives its children a prefix."""
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


class TransformersResNet(nn.Module):
    """Transformers' ResNetForImageClassification."""

    def __init__(self, blocks: Sizes, kind: str, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        channels = [width * 2**stage * (4 if kind == "bottleneck" else 1) for stage in range(len(blocks))]
        stages, before = nn.ModuleList(), width
        for stage, (count, after) in enumerate(zip(blocks, channels, strict=True)):
            layers = []
            for number in range(count):
                layers.append(TransformersBlock(before, after, 2 if stage and not number else 1, kind))
                before = after
            stages.append(_holder(layers=nn.Sequential(*layers)))
        embedder = _holder(embedder=NormalizedConvolution(3, width, 7, 2))
        self.resnet: Any = _holder(embedder=embedder, encoder=_holder(stages=stages))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(before, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.resnet.embedder.embedder(x), 3, 2, 1)
        for stage in self.resnet.encoder.stages:
            x = stage.layers(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 1))


def randomize(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network in float64 and evaluation mode, with weights and statistics that no layer is blind to."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    for key, tensor in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif tensor.ndim == 1 and not key.endswith(("bias", "running_mean")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
        else:
            scale = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.2
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return network
