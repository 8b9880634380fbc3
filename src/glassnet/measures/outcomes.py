"""Predictions of a network on a split, and the numbers computed from them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassnet.nn.functional import log_softmax
from glassnet.progress import track

if TYPE_CHECKING:
    from glassnet.data import Normalization, Split
    from glassnet.engines import Network
    from glassnet.training import Model

_NORMALIZED_AT_ONCE = 512  # images; all of a large split as floats would not fit into memory


@dataclass(frozen=True, eq=False)
class Outcome:
    """Labels (N,) of the images of a split, and the network's class probabilities and cross-entropy for each."""

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]  # (N, K); a row whose logits are not finite is NaN
    losses: npt.NDArray[np.float64]  # (N,) in nats

    @classmethod
    def from_logits(cls, labels: npt.NDArray[np.int64], logits: npt.NDArray[Any]) -> "Outcome":
        """Return the outcome of logits (N, K), computed in float64."""
        with np.errstate(invalid="ignore"):  # a network that diverged
            log_probabilities = log_softmax(logits.astype(np.float64))
        return cls(labels, np.exp(log_probabilities), -log_probabilities[np.arange(len(labels)), labels])

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the most probable class of each image, (N,)."""
        classes: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return classes

    @cached_property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each image is classified correctly, (N,)."""
        mask: npt.NDArray[np.bool_] = self.predicted == self.labels
        return mask

    @property
    def n_correct(self) -> int:
        """The number of images that are classified correctly."""
        return int(self.correct.sum())

    @property
    def accuracy(self) -> float:
        """The fraction of images that are classified correctly."""
        return float(self.correct.mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.losses.mean())


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
    starts = range(0, len(split), _NORMALIZED_AT_ONCE)
    logits = []
    with track("evaluating", len(split)) as advance:
        for part in (split.images[start : start + _NORMALIZED_AT_ONCE] for start in starts):
            logits.append(network.logits(normalization.apply(part, network.dtype)))
            advance(len(part))
    return Outcome.from_logits(split.labels, np.concatenate(logits))


@dataclass(frozen=True)
class Misclassification:
    """One misclassified image: its index in the split, and the probabilities of its true and its predicted class."""

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


def confusion_matrix(outcome: Outcome) -> npt.NDArray[np.int64]:
    """Return the number of images of each true class (row) and predicted class (column), (classes, classes)."""
    classes = outcome.probabilities.shape[1]
    counts = np.bincount(outcome.labels * classes + outcome.predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def class_scores(matrix: npt.NDArray[np.int64]) -> list[ClassScore]:
    """Return precision and recall of each class.

    Precision is the fraction of the images predicted as the class that belong to it; recall is the fraction of the
    class's images that are predicted as it.

    :param matrix: counts as ``confusion_matrix`` returns them.
    """
    correct, predicted, count = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):
        columns = correct / predicted, correct / count, count
    return [ClassScore(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def most_confident_errors(outcome: Outcome, max_count: int = 36) -> list[Misclassification]:
    """Return the misclassified images, the highest confidence first; ties in the order of the split."""
    confidence = outcome.probabilities.max(axis=1)
    wrong = np.flatnonzero(~outcome.correct)
    selected = wrong[np.argsort(-confidence[wrong], kind="stable")][:max_count]
    return [
        Misclassification(
            index=int(index),
            true=int(outcome.labels[index]),
            predicted=int(outcome.predicted[index]),
            true_probability=float(outcome.probabilities[index, outcome.labels[index]]),
            predicted_probability=float(confidence[index]),
        )
        for index in selected
    ]


def sample_indices(labels: npt.NDArray[np.int64], count: int = 36) -> list[int]:
    """Return the indices of up to ``count`` images, one of each class in turn.

    :param labels: (N,).
    """
    last: dict[int, int] = {}
    turn = np.empty(len(labels), np.int64)
    for index, label in enumerate(labels.tolist()):
        turn[index] = last[label] = last.get(label, -1) + 1
    order: list[int] = np.lexsort((labels, turn))[:count].tolist()
    return order
