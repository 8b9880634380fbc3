"""Activations."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from glassnet.nn.module import Module

Array = NDArray[Any]


class ReLU(Module):
    """The rectifier (Nair & Hinton 2010), of any shape::

        y = max(x, 0)        dx = dy where x > 0, else 0

    NaN passes, forward and backward. At x = 0 the gradient is 0, as torch has it.
    """

    def forward(self, x: Array) -> Array:
        y, saved = self.kernels.relu(x)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        return self.kernels.relu_backward(dy, self.pop_saved(dy))
