"""The range of a training loss: its minimum, and its value for a network that knows nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def loss_range(counts: NDArray[Any], weights: NDArray[np.float64], label_smoothing: float) -> tuple[float, float]:
    """Return the minimum of the mean cross-entropy, and its value if every class has the same probability, in nats.

    Without label smoothing they are 0 and ln(classes). With it the minimum is the mean entropy of the targets; class
    weights change both.

    :param counts: number of images of each class (K,).
    :param weights: weight of each class in the loss (K,).
    """
    classes = len(counts)
    targets = weights * ((1 - label_smoothing) * np.eye(classes) + label_smoothing / classes)  # of each label: (K, K)
    sums = targets.sum(axis=1, keepdims=True)
    ratios = np.divide(targets, sums, out=np.ones_like(targets), where=targets > 0)
    total_weight = (counts * weights).sum()
    minimum = -(counts @ (targets * np.log(ratios)).sum(axis=1)) / total_weight
    chance = (counts @ sums[:, 0]) * math.log(classes) / total_weight
    return float(minimum), float(chance)
