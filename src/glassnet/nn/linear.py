"""Fully connected layers and what leads into them."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ShapeError
from glassnet.nn import arguments, layout
from glassnet.nn.module import Module, Parameter

Array = NDArray[Any]


class Linear(Module):
    """A fully connected layer, with torch.nn.Linear's arguments. With x (N, I), w (O, I), b (O,)::

        y = x wᵀ + b        dx = dy w        dw = dyᵀ x        db = Σ_n dy

    Weights start He-normal, std √(2/I); biases start at 0.

    :raises ShapeError: from ``forward``, where x is not (N, in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = arguments.integer("Linear", "in_features", in_features)
        self.out_features = arguments.integer("Linear", "out_features", out_features)
        self.weight = Parameter(np.zeros((out_features, in_features), dtype))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None
        self.reset_parameters(np.random.default_rng() if rng is None else rng)

    def reset_parameters(self, rng: np.random.Generator) -> None:
        self.weight.data[...] = rng.standard_normal(self.weight.data.shape) * sqrt(2 / self.in_features)
        if self.bias is not None:
            self.bias.data[...] = 0

    def forward(self, x: Array) -> Array:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ShapeError(f"Linear takes features of shape (N, {self.in_features}). Got {x.shape}.")
        self.keep(x)
        y: Array = x @ self.weight.data.T
        if self.bias is not None:
            y += self.bias.data
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.kept()
        arguments.gradient("Linear", dy, (len(x), self.out_features))
        self.weight.grad[...] = dy.T @ x
        if self.bias is not None:
            self.bias.grad[...] = dy.sum(axis=0)
        dx: Array = dy @ self.weight.data
        return dx


class Flatten(Module):
    """(N, C, H, W) -> (N, C·H·W) in the order of C, H, W, as torch.nn.Flatten; dx has x's shape again."""

    def forward(self, x: Array) -> Array:
        self.keep(x.shape)
        return np.array(x, order="C").reshape(len(x), prod(x.shape[1:]))

    def backward(self, dy: Array) -> Array:
        (shape,) = self.kept()
        arguments.gradient("Flatten", dy, (shape[0], prod(shape[1:])))
        dx = layout.channels_last(dy.reshape(shape))
        return dx.copy(order="K") if np.shares_memory(dx, dy) else dx


class Identity(Module):
    """y = x and dx = dy, as copies."""

    def forward(self, x: Array) -> Array:
        self.keep(x.shape)
        return self.workers.elementwise(_copy, x)

    def backward(self, dy: Array) -> Array:
        (shape,) = self.kept()
        arguments.gradient("Identity", dy, shape)
        return self.workers.elementwise(_copy, dy)


def _copy(x: Array, out: Array) -> None:
    np.copyto(out, x)
