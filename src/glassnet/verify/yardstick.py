"""The plain tutorial engine: what glassnet's speed is measured against.

Layers as courses and tutorials usually write them in NumPy: arrays in (N, C, H, W) order, ``np.pad``, im2col by a loop
over the kernel's places, one matrix product, and a transpose back; col2im for the gradient of the input, also where
nobody needs it; max-pooling by reshape; the columns kept from forward to backward. They are written as well as that
design allows, have glassnet's names and keys, and compute the same numbers: ``assemble(spec, yardstick)`` is the
network. Here are the layers that the networks of ``glassnet bench`` consist of, and no others.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec, assemble
from glassnet.nn.module import Module, Parameter

Array = NDArray[Any]


def im2col(x: Array, kernel_size: int, stride: int, padding: int) -> Array:
    """x (N, C, H, W) -> (N·Ho·Wo, C·k·k): the neighbourhood of each output pixel as a row."""
    N, C, H, W = x.shape
    Ho, Wo = ((length + 2 * padding - kernel_size) // stride + 1 for length in (H, W))
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    columns = np.empty((N, C, kernel_size, kernel_size, Ho, Wo), x.dtype)
    for i in range(kernel_size):
        for j in range(kernel_size):
            columns[:, :, i, j] = padded[:, :, i : i + stride * Ho : stride, j : j + stride * Wo : stride]
    return columns.transpose(0, 4, 5, 1, 2, 3).reshape(N * Ho * Wo, -1)


def col2im(columns: Array, shape: tuple[int, ...], kernel_size: int, stride: int, padding: int) -> Array:
    """Add each row of (N·Ho·Wo, C·k·k) back to the pixels it came from: (N, C, H, W)."""
    N, C, H, W = shape
    Ho, Wo = ((length + 2 * padding - kernel_size) // stride + 1 for length in (H, W))
    places = columns.reshape(N, Ho, Wo, C, kernel_size, kernel_size).transpose(0, 3, 4, 5, 1, 2)
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), columns.dtype)
    for i in range(kernel_size):
        for j in range(kernel_size):
            padded[:, :, i : i + stride * Ho : stride, j : j + stride * Wo : stride] += places[:, :, i, j]
    return padded[:, :, padding : padding + H, padding : padding + W]


class Conv2d(Module):
    """y = x ∗ w + b."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.geometry = kernel_size, stride, padding
        self.weight = Parameter(np.zeros((out_channels, in_channels, kernel_size, kernel_size), np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x: Array) -> Array:
        kernel_size, stride, padding = self.geometry
        N, _, H, W = x.shape
        Ho, Wo = ((length + 2 * padding - kernel_size) // stride + 1 for length in (H, W))
        columns = im2col(x, *self.geometry)
        weight = self.weight.data
        y = columns @ weight.reshape(len(weight), -1).T
        if self.bias is not None:
            y = y + self.bias.data
        self.save_for_backward((columns, x.shape), ())
        return y.reshape(N, Ho, Wo, -1).transpose(0, 3, 1, 2)

    def backward(self, dy: Array) -> Array:
        columns, shape = self.pop_saved()
        weight = self.weight.data
        rows = dy.transpose(0, 2, 3, 1).reshape(-1, len(weight))
        self.weight.grad = (rows.T @ columns).reshape(weight.shape)
        if self.bias is not None:
            self.bias.grad = rows.sum(axis=0)
        return col2im(rows @ weight.reshape(len(weight), -1), shape, *self.geometry)


class BatchNorm2d(Module):
    """Batch normalization with running statistics (momentum .1, the unbiased variance)."""

    buffer_names = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)
        self.num_batches_tracked = np.array(0, np.int64)

    def forward(self, x: Array) -> Array:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            M = x.size // len(mean)
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var * (M / (M - 1))
            self.num_batches_tracked += 1
        std = np.sqrt(var + 1e-5)
        x_hat = (x - _per_channel(mean)) / _per_channel(std)
        self.save_for_backward((x_hat, std), ())
        y: Array = _per_channel(self.weight.data) * x_hat + _per_channel(self.bias.data)
        return y

    def backward(self, dy: Array) -> Array:
        x_hat, std = self.pop_saved()
        self.bias.grad = dy.sum(axis=(0, 2, 3))
        self.weight.grad = (dy * x_hat).sum(axis=(0, 2, 3))
        M = dy.size // len(std)
        dx: Array = dy - _per_channel(self.bias.grad / M) - x_hat * _per_channel(self.weight.grad / M)
        return _per_channel(self.weight.data / std) * dx


def _per_channel(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


class ReLU(Module):
    def forward(self, x: Array) -> Array:
        self.save_for_backward((x,), ())
        y: Array = np.maximum(x, 0)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.pop_saved()
        dx: Array = dy * (x > 0)
        return dx


class MaxPool2d(Module):
    """The maximum of each 2×2 square of images with an even height and width."""

    def __init__(self, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        assert (kernel_size, stride, padding) == (2, 2, 0), "the design by reshape knows no other"

    def forward(self, x: Array) -> Array:
        N, C, H, W = x.shape
        y: Array = x.reshape(N, C, H // 2, 2, W // 2, 2).max(axis=(3, 5))
        self.save_for_backward((x, y), ())
        return y

    def backward(self, dy: Array) -> Array:
        """dy goes to the maximum, in equal shares where there are several; here those are zeros, where ReLU stops
        it."""
        x, y = self.pop_saved()
        N, C, H, W = x.shape
        winners = x.reshape(N, C, H // 2, 2, W // 2, 2) == y[:, :, :, None, :, None]
        share = dy / winners.sum(axis=(3, 5), dtype=dy.dtype)
        dx: Array = winners * share[:, :, :, None, :, None]
        return dx.reshape(x.shape)


class AdaptiveAvgPool2d(Module):
    def __init__(self, output_size: int) -> None:
        super().__init__()
        assert output_size == 1, "the mean of the whole image"

    def forward(self, x: Array) -> Array:
        self.save_for_backward((x.shape,), ())
        y: Array = x.mean(axis=(2, 3), keepdims=True)
        return y

    def backward(self, dy: Array) -> Array:
        (shape,) = self.pop_saved()
        return np.broadcast_to(dy / (shape[2] * shape[3]), shape)


class Flatten(Module):
    def forward(self, x: Array) -> Array:
        self.save_for_backward((x.shape,), ())
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        (shape,) = self.pop_saved()
        return dy.reshape(shape)


class Linear(Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = Parameter(np.zeros((out_features, in_features), np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32))

    def forward(self, x: Array) -> Array:
        self.save_for_backward((x,), ())
        y: Array = x @ self.weight.data.T + self.bias.data
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.pop_saved()
        self.weight.grad, self.bias.grad = dy.T @ x, dy.sum(axis=0)
        dx: Array = dy @ self.weight.data
        return dx


class Identity(Module):
    def forward(self, x: Array) -> Array:
        return x

    def backward(self, dy: Array) -> Array:
        return dy


class ZeroPadShortcut(Module):
    """Every stride-th pixel, new channels zero."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Array) -> Array:
        self.save_for_backward((x.shape,), ())
        pixels = x[:, :, :: self.stride, :: self.stride]
        return np.pad(pixels, ((0, 0), (self.before, self.after), (0, 0), (0, 0)))

    def backward(self, dy: Array) -> Array:
        (shape,) = self.pop_saved()
        dx = np.zeros(shape, dy.dtype)
        dx[:, :, :: self.stride, :: self.stride] = dy[:, self.before : self.before + shape[1]]
        return dx


class Sequential(Module):
    def __init__(self, layers: Mapping[str, Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Array) -> Array:
        for _, layer in self.named_children():
            x = layer(x)
        return x

    def backward(self, dy: Array) -> Array:
        for _, layer in reversed(list(self.named_children())):
            dy = layer.backward(dy)
        return dy


class Residual(Module):
    """y = relu(shortcut(x) + body(x)); the body's layers are the block's own children."""

    def __init__(self, body: Sequential, shortcut: Module, activation: Module) -> None:
        super().__init__()
        self._body = body
        for name, layer in body.named_children():
            setattr(self, name, layer)
        self.shortcut = shortcut
        self.relu = activation

    def forward(self, x: Array) -> Array:
        return self.relu(self.shortcut(x) + self._body(x))

    def backward(self, dy: Array) -> Array:
        g = self.relu.backward(dy)
        dx: Array = self.shortcut.backward(g) + self._body.backward(g)
        return dx


def softmax_loss(logits: Array, labels: Array) -> tuple[float, Array]:
    """Mean cross-entropy, and its gradient."""
    count = np.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dlogits = np.exp(log_p)
    dlogits[count, labels] -= 1
    return float(-log_p[count, labels].mean()), dlogits / len(logits)


class Yardstick:
    """The network of ``spec`` in these layers, and its SGD.

    ``state`` is a state dict of glassnet's; the yardstick trains a copy, in its dtype. Momentum is torch's, and weight
    decay applies to kernels and matrices only, as in the recipe ``tutorial``.
    """

    def __init__(
        self,
        spec: ResNetSpec,
        state: Mapping[str, Array],
        *,
        lr: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
    ) -> None:
        self.network: Module = assemble(spec, sys.modules[__name__]).to(state["fc.weight"].dtype)
        self.network.load_state_dict(state)
        self.parameters = dict(self.network.named_parameters())
        self.velocity = {key: np.zeros_like(parameter.data) for key, parameter in self.parameters.items()}
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay

    def forward(self, images: Array, labels: Array) -> tuple[float, Array]:
        """The loss of a batch, images (N, C, H, W) and labels (N,), and its gradient wrt the logits."""
        return softmax_loss(self.network(images), labels)

    def backward(self, dlogits: Array) -> dict[str, Array]:
        """The gradient of each parameter."""
        self.network.backward(dlogits)
        return {key: parameter.grad for key, parameter in self.parameters.items()}

    def update(self) -> None:
        for key, parameter in self.parameters.items():
            decay = self.weight_decay if parameter.data.ndim > 1 else 0.0
            velocity = self.velocity[key]
            velocity *= self.momentum
            velocity += parameter.grad + decay * parameter.data
            parameter.data -= self.lr * velocity

    def step(self, images: Array, labels: Array) -> float:
        """One step of SGD; returns the loss before it."""
        loss, dlogits = self.forward(images, labels)
        self.backward(dlogits)
        self.update()
        return loss
