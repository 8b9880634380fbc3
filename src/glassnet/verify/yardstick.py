"""The plain tutorial engine: what glassnet's speed is measured against.

The training step of ``tiny`` as courses and tutorials usually write it in NumPy: arrays in (N, C, H, W) order,
``np.pad``, im2col by a loop over the kernel's places, one matrix product, and a transpose back; col2im for the gradient
of the input; max-pooling by reshape; the columns kept from forward to backward. It is written as well as that design
allows, takes the weights of glassnet's ``tiny``, and computes the same numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

KERNEL, PADDING = 3, 1


def im2col(x: Array) -> Array:
    """x (N, C, H, W) -> (N·H·W, C·3·3): the 3×3 neighbourhood of each pixel as a row."""
    N, C, H, W = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    columns = np.empty((N, C, KERNEL, KERNEL, H, W), x.dtype)
    for i in range(KERNEL):
        for j in range(KERNEL):
            columns[:, :, i, j] = padded[:, :, i : i + H, j : j + W]
    return columns.transpose(0, 4, 5, 1, 2, 3).reshape(N * H * W, -1)


def col2im(columns: Array, shape: tuple[int, ...]) -> Array:
    """Add each row of (N·H·W, C·3·3) back to the pixels it came from: (N, C, H, W)."""
    N, C, H, W = shape
    places = columns.reshape(N, H, W, C, KERNEL, KERNEL).transpose(0, 3, 4, 5, 1, 2)
    padded = np.zeros((N, C, H + 2 * PADDING, W + 2 * PADDING), columns.dtype)
    for i in range(KERNEL):
        for j in range(KERNEL):
            padded[:, :, i : i + H, j : j + W] += places[:, :, i, j]
    return padded[:, :, PADDING:-PADDING, PADDING:-PADDING]


def conv_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, Array]:
    """y = x ∗ w + b, and the columns for the backward pass."""
    N, _, H, W = x.shape
    columns = im2col(x)
    y = columns @ weight.reshape(len(weight), -1).T + bias
    return y.reshape(N, H, W, -1).transpose(0, 3, 1, 2), columns


def conv_backward(dy: Array, columns: Array, weight: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """The gradients of x, weight and bias."""
    rows = dy.transpose(0, 2, 3, 1).reshape(-1, len(weight))
    dcolumns = rows @ weight.reshape(len(weight), -1)
    return col2im(dcolumns, shape), (rows.T @ columns).reshape(weight.shape), rows.sum(axis=0)


def max_pool_forward(x: Array) -> Array:
    """The maximum of each 2×2 square."""
    N, C, H, W = x.shape
    y: Array = x.reshape(N, C, H // 2, 2, W // 2, 2).max(axis=(3, 5))
    return y


def max_pool_backward(dy: Array, x: Array, y: Array) -> Array:
    """dy goes to the maximum, in equal shares where there are several; here those are zeros, where ReLU stops it."""
    N, C, H, W = x.shape
    winners = x.reshape(N, C, H // 2, 2, W // 2, 2) == y[:, :, :, None, :, None]
    share = dy / winners.sum(axis=(3, 5), dtype=dy.dtype)
    dx: Array = winners * share[:, :, :, None, :, None]
    return dx.reshape(x.shape)


def softmax_loss(logits: Array, labels: Array) -> tuple[float, Array]:
    """Mean cross-entropy, and its gradient."""
    count = np.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dlogits = np.exp(log_p)
    dlogits[count, labels] -= 1
    return float(-log_p[count, labels].mean()), dlogits / len(logits)


class Yardstick:
    """``tiny`` and its SGD: conv + ReLU, a residual block of two convolutions, max-pool 2, linear.

    ``state`` is a state dict of glassnet's ``tiny``; pictures have an even height and width. Momentum is torch's, and
    weight decay applies to weights and not to biases, as in the recipe ``tutorial``.
    """

    def __init__(
        self, state: dict[str, Array], *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 1e-4
    ) -> None:
        self.parameters = {key: array.copy() for key, array in state.items()}
        self.velocity = {key: np.zeros_like(array) for key, array in state.items()}
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay

    def gradients(self, images: Array, labels: Array) -> tuple[float, dict[str, Array]]:
        """The loss and the gradient of each parameter: images (N, 1, H, W), labels (N,)."""
        p = self.parameters
        a, columns0 = conv_forward(images, p["conv1.weight"], p["conv1.bias"])
        stem = np.maximum(a, 0)
        b, columns1 = conv_forward(stem, p["layer1.0.conv1.weight"], p["layer1.0.conv1.bias"])
        hidden = np.maximum(b, 0)
        c, columns2 = conv_forward(hidden, p["layer1.0.conv2.weight"], p["layer1.0.conv2.bias"])
        block = np.maximum(stem + c, 0)
        pooled = max_pool_forward(block)
        features = pooled.reshape(len(images), -1)
        loss, dlogits = softmax_loss(features @ p["fc.weight"].T + p["fc.bias"], labels)

        g = {"fc.weight": dlogits.T @ features, "fc.bias": dlogits.sum(axis=0)}
        dpooled = (dlogits @ p["fc.weight"]).reshape(pooled.shape)
        dsum = max_pool_backward(dpooled, block, pooled) * (block > 0)
        dhidden, g["layer1.0.conv2.weight"], g["layer1.0.conv2.bias"] = conv_backward(
            dsum, columns2, p["layer1.0.conv2.weight"], hidden.shape
        )
        dstem, g["layer1.0.conv1.weight"], g["layer1.0.conv1.bias"] = conv_backward(
            dhidden * (hidden > 0), columns1, p["layer1.0.conv1.weight"], stem.shape
        )
        _, g["conv1.weight"], g["conv1.bias"] = conv_backward(
            (dstem + dsum) * (stem > 0), columns0, p["conv1.weight"], images.shape
        )
        return loss, g

    def step(self, images: Array, labels: Array) -> float:
        """One step of SGD; returns the loss before it."""
        loss, gradients = self.gradients(images, labels)
        for key, parameter in self.parameters.items():
            decay = self.weight_decay if key.endswith("weight") else 0.0
            velocity = self.velocity[key]
            velocity *= self.momentum
            velocity += gradients[key] + decay * parameter
            parameter -= self.lr * velocity
        return loss
