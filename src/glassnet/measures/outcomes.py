"""Outcomes of a network on the images of a split, and images to look at."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glassnet.classification import Outcome

if TYPE_CHECKING:
    from glassnet.data import Normalization, Split
    from glassnet.engines import Network
    from glassnet.training import Model


def outcome(model: "Model", split: "Split", scale: float | None = None) -> Outcome:
    """Classify the images of a split with a trained model.

    :param model: a run as ``glassnet.load`` returns it.
    :param split: such as ``dataset.test``; its images are normalized as those of the training were.
    :param scale: the pixel value that stands for 1, where the split belongs to other data than the training's.
    """
    normalization = model.normalization if scale is None else replace(model.normalization, scale=scale)
    return network_outcome(model.network, normalization, split)


def network_outcome(network: "Network", normalization: "Normalization", split: "Split") -> Outcome:
    """Classify the images of a split with any network."""
    return network.evaluate(split, normalization)


def sample_indices(labels: npt.NDArray[np.int64], count: int = 36) -> list[int]:
    """Return the indices of up to ``count`` images, one of each class in turn.

    Of more classes than ``count``, those at equal distances are taken.

    :param labels: (N,).
    """
    last: dict[int, int] = {}
    turn = np.empty(len(labels), np.int64)
    for index, label in enumerate(labels.tolist()):
        turn[index] = last[label] = last.get(label, -1) + 1
    order: list[int] = np.lexsort((labels, turn)).tolist()
    if len(last) > count:
        return [order[place] for place in np.linspace(0, len(last) - 1, count).round().astype(int).tolist()]
    return order[:count]
