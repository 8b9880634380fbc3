"""Activations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.module import Module

Array = NDArray[Any]


class ReLU(Module):
    """The rectifier (Nair & Hinton 2010), of any shape::

        y = max(x, 0)        dx = dy where x > 0, else 0

    At x = 0 the gradient is 0, as torch has it.
    """

    def forward(self, x: Array) -> Array:
        self.keep(x > 0)
        return np.maximum(x, 0)

    def backward(self, dy: Array) -> Array:
        (positive,) = self.kept()
        dx: Array = dy * positive  # several times the speed of np.where
        return dx
