"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn import arguments, layout
from glassnet.nn.module import Module

Array = NDArray[Any]


class Dropout(Module):
    """Dropout (Srivastava et al. 2014), scaled in training as torch.nn.Dropout: with r uniform in [0, 1)::

        m = [r ≥ p] / (1 − p)        y = m·x        dx = m·dy

    In evaluation mode y = x. ``generator`` draws r, in float64 and in the order of x's shape whatever its
    memory, so that another engine can draw the same mask.
    """

    def __init__(self, p: float = 0.5, *, generator: np.random.Generator | None = None) -> None:
        super().__init__()
        self.p = arguments.probability("Dropout", "p", p)
        self.generator = np.random.default_rng() if generator is None else generator

    def forward(self, x: Array) -> Array:
        if not self.training:
            return x.copy(order="K")
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        mask = layout.channels_last((self.generator.random(x.shape) >= self.p) * x.dtype.type(scale))
        self.keep(mask)
        return mask * x

    def backward(self, dy: Array) -> Array:
        (mask,) = self.kept()
        arguments.gradient("Dropout", dy, mask.shape)
        dx: Array = mask * dy
        return dx
