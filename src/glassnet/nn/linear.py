"""The fully connected layer and the one that leads into it."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ShapeError
from glassnet.nn.checks import check_int
from glassnet.nn.module import Module, Parameter

Array = NDArray[Any]


class Linear(Module):
    """A fully connected layer, with torch.nn.Linear's arguments. With x (N, I), w (O, I), b (O,)::

        y = x wᵀ + b        dx = dy w        dw = dyᵀ x        db = Σ_n dy

    Weights start He-normal, std √(2/I); biases start at 0.

    :raises ShapeError: from ``forward``, if x is not (N, in_features).
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
        self.in_features = check_int("in_features of Linear", in_features)
        self.out_features = check_int("out_features of Linear", out_features)
        self.weight = Parameter(np.zeros((out_features, in_features), dtype))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None
        self.reset_parameters(np.random.default_rng() if rng is None else rng)

    def reset_parameters(self, rng: np.random.Generator) -> None:
        self.weight.data[...] = rng.standard_normal(self.weight.data.shape) * sqrt(2 / self.in_features)
        if self.bias is not None:
            self.bias.data[...] = 0

    def forward(self, x: Array) -> Array:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ShapeError(f"input of Linear must have shape (N, {self.in_features}). Got {x.shape}.")
        y, saved = self.kernels.linear(x, self.weight.data, None if self.bias is None else self.bias.data)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        dx, dw, db = self.kernels.linear_backward(dy, self.pop_saved(dy))
        self.weight.grad[...] = dw
        if self.bias is not None:
            self.bias.grad[...] = db
        return dx

    def extra_repr(self) -> str:
        has_bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={has_bias}"


class Flatten(Module):
    """(N, C, H, W) -> (N, C·H·W) in the order of C, H, W, as torch.nn.Flatten; dx has x's shape again."""

    def forward(self, x: Array) -> Array:
        y, saved = self.kernels.flatten(x)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.flatten_backward(dy, self.pop_saved(dy))

    def extra_repr(self) -> str:
        return "start_dim=1, end_dim=-1"
