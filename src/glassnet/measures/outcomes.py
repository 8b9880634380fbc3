"""The numbers behind the figures. Nothing here draws, and nothing here changes the network it looks at."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glassnet.nn.loss import softmax

if TYPE_CHECKING:
    from glassnet.data import Normalization
    from glassnet.engines import Network


@dataclass(frozen=True)
class Misclassification:
    """One image that the network names wrongly: its place in the split, and what the network believes."""

    index: int
    true: int
    predicted: int
    true_probability: float
    predicted_probability: float


@dataclass(frozen=True)
class ClassScore:
    """One class: precision and recall (NaN where there is nothing to divide by) and its number of images."""

    precision: float
    recall: float
    count: int


def probabilities(
    network: "Network", normalization: "Normalization", images: npt.NDArray[np.uint8], chunk: int = 512
) -> npt.NDArray[np.float64]:
    """Softmax of the network's logits.

    :param images: uint8 (N, H, W, C), as a split holds them; they are normalized ``chunk`` at a time.
    :returns: (N, classes); a row whose logits are not finite is NaN.
    """
    chunks = (images[start : start + chunk] for start in range(0, len(images), chunk))
    logits = [network.logits(normalization.apply(part, network.dtype)) for part in chunks]
    with np.errstate(invalid="ignore"):  # a network that diverged
        result: npt.NDArray[np.float64] = softmax(np.concatenate(logits).astype(np.float64))
    return result


def confusion_matrix(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """How often each true class (row) was given each name (column): (classes, classes), scikit-learn's."""
    from sklearn import metrics  # slow to load, and the layer table does without

    matrix: npt.NDArray[np.int64] = metrics.confusion_matrix(labels, predicted, labels=np.arange(classes))
    return matrix


def class_scores(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int) -> list[ClassScore]:
    """Precision (how many that got the name deserve it) and recall (how many of the class got its name), by class."""
    from sklearn import metrics

    precision, recall, _, count = metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(classes), average=None, zero_division=np.nan
    )
    return [ClassScore(*row) for row in zip(precision.tolist(), recall.tolist(), count.tolist(), strict=True)]


def most_confident_errors(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], most: int = 36
) -> list[Misclassification]:
    """The wrongly named images, those the network is surest of first; ties in the order of the split."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]
    return [
        Misclassification(
            index=int(index),
            true=int(labels[index]),
            predicted=int(predicted[index]),
            true_probability=float(probabilities[index, labels[index]]),
            predicted_probability=float(probabilities[index, predicted[index]]),
        )
        for index in surest
    ]


def sample_indices(labels: npt.NDArray[np.int64], count: int = 36) -> list[int]:
    """Places of up to ``count`` images, one of each class in turn, so that no class is left out by its order."""
    seen: dict[int, int] = {}
    turn = np.empty(len(labels), np.int64)
    for index, label in enumerate(labels.tolist()):
        turn[index] = seen[label] = seen.get(label, -1) + 1
    order: list[int] = np.lexsort((labels, turn))[:count].tolist()
    return order
