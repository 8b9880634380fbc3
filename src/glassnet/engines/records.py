"""The records that go into an engine and come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Augmentation

Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Images of a split on the device, and their augmentation."""

    device_split: Any  # from Network.to_device
    indices: NDArray[np.int64]
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: slice) -> Batch:
        """Return the batch of some of its images."""
        changes = self.augmentation
        return Batch(self.device_split, self.indices[rows], changes and changes.take(rows))


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
