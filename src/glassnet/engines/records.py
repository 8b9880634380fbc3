"""The records that go into an engine and come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Normalization

Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """The images of a step, or those that one of several processes computes of it, and how they are normalized.

    The length is the number of images of the step.
    """

    images: NDArray[np.uint8]  # (n, H, W, C), as the network learns from them: augmented
    labels: NDArray[np.int64]  # (n,)
    normalization: Normalization
    rows: slice | None = None  # these images among those of the step; None: all of them
    total: int | None = None  # number of images of the step, given with ``rows``

    def __len__(self) -> int:
        return len(self.labels) if self.total is None else self.total

    def take(self, rows: slice) -> Batch:
        """Return these of the step's images; a batch that has these alone is returned as it is."""
        if self.rows is not None:
            return self
        return Batch(self.images[rows], self.labels[rows], self.normalization, rows, len(self))


@dataclass(frozen=True)
class TrainStats:
    """Statistics of the steps since they were last read."""

    loss: float  # mean over the images, each with the weight of its class
    accuracy: float  # fraction of images predicted correctly before the step that uses them
    count: int
    gradient_norms: dict[str, float]  # L2 norm of each parameter's gradient at the last step


@dataclass(frozen=True)
class Trace:
    """Every tensor of one pass in training mode, forward and backward."""

    activations: dict[str, Array]  # in forward order
    loss: float
    activation_gradients: dict[str, Array]  # gradients with respect to the activations, in the same order
    gradients: dict[str, Array]  # gradients with respect to the parameters
    buffers: dict[str, Array]  # running statistics after the pass
