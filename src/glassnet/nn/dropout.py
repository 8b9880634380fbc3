"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.checks import check_probability
from glassnet.nn.module import Module

Array = NDArray[Any]


class Dropout(Module):
    """Dropout (Srivastava et al. 2014), scaled in training as torch.nn.Dropout: with r uniform in [0, 1)::

        m = [r ≥ p] / (1 − p)        y = m·x        dx = m·dy

    In evaluation mode y = x. ``generator`` draws r, in float64 and in the order of x's shape, not of its memory, so
    that another engine can draw the same mask.
    """

    def __init__(self, p: float = 0.5, *, generator: np.random.Generator | None = None) -> None:
        super().__init__()
        self.p = check_probability("p of Dropout", p)
        self.generator = np.random.default_rng() if generator is None else generator

    def forward(self, x: Array) -> Array:
        if not self.training:
            return x.copy(order="K")
        mask = self.kernels.dropout_mask(self.generator.random(x.shape), self.p, x.dtype)
        y, saved = self.kernels.dropout(x, mask)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.dropout_backward(dy, self.pop_saved(dy))

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"
