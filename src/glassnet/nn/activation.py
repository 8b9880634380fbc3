"""Activations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn import arguments
from glassnet.nn.module import Module
from glassnet.nn.scratch import Scratch

Array = NDArray[Any]


class ReLU(Module):
    """The rectifier (Nair & Hinton 2010), of any shape::

        y = max(x, 0)        dx = dy where x > 0, else 0

    At x = 0 the gradient is 0, as torch has it. (An infinite or NaN dy is NaN everywhere, as ``dy`` is multiplied.)
    """

    def forward(self, x: Array) -> Array:
        y, positive = self.workers.empty_like(x), self.workers.empty_like(x, np.bool_)

        def work(part: slice, _: Scratch) -> None:
            np.greater(x[part], 0, out=positive[part])
            np.maximum(x[part], 0, out=y[part])

        self.workers.map(work, len(x), x[:1].nbytes)
        self.keep(positive)
        return y

    def backward(self, dy: Array) -> Array:
        (positive,) = self.kept()
        arguments.gradient("ReLU", dy, positive.shape)
        return self.workers.elementwise(np.multiply, dy, positive)  # several times the speed of np.where
