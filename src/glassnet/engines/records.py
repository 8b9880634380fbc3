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
    step_labels: NDArray[np.int64] | None = None  # those of all images of the step, given with ``rows``

    def __len__(self) -> int:
        return len(self.all_labels)

    @property
    def all_labels(self) -> NDArray[np.int64]:
        """The labels of all images of the step."""
        return self.labels if self.step_labels is None else self.step_labels

    def take(self, rows: slice) -> Batch:
        """Return these of the step's images, all of which this process has."""
        first = 0 if self.rows is None else self.rows.start
        own = slice(rows.start - first, rows.stop - first)
        return Batch(self.images[own], self.labels[own], self.normalization, rows, self.all_labels)


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
