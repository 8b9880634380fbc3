"""Numbers about a classification: the outcome for each image, scores of each class, top-k accuracy and calibration.

Labels and logits in, numbers out: nothing here knows a network or a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet.nn.functional import log_softmax

CALIBRATION_BINS = 15  # as in Guo et al. 2017
MAX_CONFUSIONS = 20
_TOP_K = (2, 3, 5)


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """The results of a network for N images, in their order: a few numbers for each, whatever the number of classes.

    A row of logits with NaN has NaN as its probabilities, and its label counts as the least probable class unless it
    is the predicted one.
    """

    labels: npt.NDArray[np.int64]  # (N,)
    predicted: npt.NDArray[np.int64]  # (N,) class of the largest logit, the first of equal ones
    confidence: npt.NDArray[np.float64]  # (N,) probability of the predicted class
    label_probability: npt.NDArray[np.float64]  # (N,) probability of the label
    label_rank: npt.NDArray[np.int64]  # (N,) number of classes with a larger logit than the label, or an equal earlier
    losses: npt.NDArray[np.floating]  # (N,) cross-entropy in nats, in the dtype of the logits
    n_classes: int

    @classmethod
    def from_logits(cls, labels: npt.NDArray[np.int64], logits: npt.NDArray[Any]) -> Outcome:
        """Return the outcome of logits (N, K) for labels (N,) from 0 to K − 1."""
        rows = np.arange(len(labels))
        with np.errstate(invalid="ignore"):  # a network that diverged
            log_probabilities = log_softmax(logits)
        predicted = logits.argmax(axis=1)
        own = logits[rows, labels][:, np.newaxis]
        earlier = np.arange(logits.shape[1]) < labels[:, np.newaxis]
        rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
        rank[np.isnan(logits).any(axis=1)] = logits.shape[1] - 1
        return cls(
            labels,
            predicted,
            np.exp(log_probabilities[rows, predicted], dtype=np.float64),
            np.exp(log_probabilities[rows, labels], dtype=np.float64),
            np.where(predicted == labels, 0, rank),
            -log_probabilities[rows, labels],
            logits.shape[1],
        )

    @classmethod
    def join(cls, parts: Sequence[Outcome]) -> Outcome:
        """Return the outcome of all images of one or several parts, in order."""
        names = [field.name for field in fields(cls) if field.name != "n_classes"]
        arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return replace(parts[0], **arrays)

    def __repr__(self) -> str:
        return f"Outcome(loss={self.loss}, accuracy={self.accuracy}, count={self.count})"

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.labels)

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
        return float(self.losses.sum().item() / self.count)


@dataclass(frozen=True)
class ClassScore:
    """Counts of one class: its images, the images predicted as it, and those in both."""

    count: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float | None:
        """The fraction of the images predicted as the class that belong to it; None if none is predicted as it."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """The fraction of the class's images that are predicted as it; None if the class has no image."""
        return self.correct / self.count if self.count else None


@dataclass(frozen=True)
class Confusion:
    """Images of the class ``true`` that are predicted as another: their number, and their fraction of the class."""

    true: int
    predicted: int
    count: int
    fraction: float


@dataclass(frozen=True)
class Misclassification:
    """One misclassified image: its index in the split, and the probabilities of its true and its predicted class."""

    index: int
    true: int
    predicted: int
    true_probability: float
    predicted_probability: float


def confusion_matrix(outcome: Outcome) -> npt.NDArray[np.int64]:
    """Return the number of images of each true class (row) and predicted class (column), (classes, classes)."""
    pairs = outcome.labels * outcome.n_classes + outcome.predicted
    return np.bincount(pairs, minlength=outcome.n_classes**2).reshape(outcome.n_classes, outcome.n_classes)


def class_scores(outcome: Outcome) -> list[ClassScore]:
    """Return the counts of each class, from which its precision and recall follow."""
    classes = (outcome.labels, outcome.predicted, outcome.labels[outcome.correct])
    columns = (np.bincount(indices, minlength=outcome.n_classes).tolist() for indices in classes)
    return [ClassScore(*row) for row in zip(*columns, strict=True)]


def worst_classes(scores: Sequence[ClassScore], max_count: int) -> list[int]:
    """Return the indices of the classes of lowest recall that have errors, the lowest first.

    Classes of equal recall are in the order of their number of images, largest first, then of their precision. Classes
    without images are left out: their recall is not measured.
    """
    faulty = [index for index, score in enumerate(scores) if score.correct < score.count]
    return sorted(faulty, key=lambda i: (scores[i].recall, -scores[i].count, scores[i].precision or 0))[:max_count]


def confusions(outcome: Outcome, max_count: int = MAX_CONFUSIONS) -> list[Confusion]:
    """Return the most frequent pairs of a true class and another predicted class, the most frequent first.

    Pairs of equal counts are in the order of their fraction of the true class, largest first, then of the classes.
    """
    wrong = ~outcome.correct
    pairs, counts = np.unique(outcome.labels[wrong] * outcome.n_classes + outcome.predicted[wrong], return_counts=True)
    true, predicted = np.divmod(pairs, outcome.n_classes)
    fractions = counts / np.bincount(outcome.labels, minlength=outcome.n_classes)[true]
    order = np.lexsort((pairs, -fractions, -counts))[:max_count]
    columns = (column[order].tolist() for column in (true, predicted, counts, fractions))
    return [Confusion(*row) for row in zip(*columns, strict=True)]


def most_confident_errors(outcome: Outcome, max_count: int = 36) -> list[Misclassification]:
    """Return the misclassified images, the highest confidence first; ties in the order of the split."""
    wrong = np.flatnonzero(~outcome.correct)
    order = wrong[np.argsort(-outcome.confidence[wrong], kind="stable")][:max_count]
    columns = (order, *(array[order] for array in (outcome.labels, outcome.predicted)))
    probabilities = (array[order] for array in (outcome.label_probability, outcome.confidence))
    return [Misclassification(*row) for row in zip(*(c.tolist() for c in (*columns, *probabilities)), strict=True)]


def top_k_accuracy(outcome: Outcome, k: int) -> float:
    """Return the fraction of images whose label is among the ``k`` most probable classes."""
    return float((outcome.label_rank < k).mean())


def top_k_accuracies(outcome: Outcome) -> dict[int, float]:
    """Return the top-k accuracies for k of 2, 3 and 5, where k is at most half of the classes."""
    return {k: top_k_accuracy(outcome, k) for k in _TOP_K if 2 * k <= outcome.n_classes}


def balanced_accuracy(scores: Sequence[ClassScore]) -> float:
    """Return the mean recall of the classes that have images, as scikit-learn's ``balanced_accuracy_score``."""
    recalls = [score.recall for score in scores if score.recall is not None]
    return sum(recalls) / len(recalls)


def calibration_error(outcome: Outcome, bins: int = CALIBRATION_BINS) -> float | None:
    """Return the expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3)::

        ECE = Σ_m |B_m|/N · |accuracy(B_m) − confidence(B_m)|

    B_m are the images whose confidence is in ((m − 1)/bins, m/bins]; accuracy and confidence are means over them. 0 is
    perfect: of the images with confidence 0.8, 80% are classified correctly. None if a probability is NaN.
    """
    if np.isnan(outcome.confidence).any():
        return None
    bin_of_image = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], outcome.confidence)
    gaps = np.bincount(bin_of_image, weights=outcome.correct - outcome.confidence, minlength=bins)
    return float(np.abs(gaps).sum() / outcome.count)


def accuracy_interval(n_correct: int, count: int) -> tuple[float, float]:
    """Return the 95% confidence interval of an accuracy (E. B. Wilson, 1927).

    :param n_correct: correctly classified images among ``count``.
    """
    z2 = NormalDist().inv_cdf(0.975) ** 2
    centre = (n_correct + z2 / 2) / (count + z2)
    half = (z2 * (n_correct * (count - n_correct) / count + z2 / 4)) ** 0.5 / (count + z2)
    low = centre - half if n_correct else 0.0  # exactly, not to rounding
    return low, centre + half if n_correct < count else 1.0


def evaluation_numbers(outcome: Outcome, classes: Sequence[str]) -> dict[str, Any]:
    """Return the numbers of an evaluation, as ``glassnet evaluate --json`` prints them.

    Keys: ``loss``, ``accuracy``, ``count`` (images); ``accuracy_interval`` (95%); ``balanced_accuracy``;
    ``top_k_accuracy`` by k, as ``top_k_accuracies`` has them; ``calibration_error`` and ``calibration_bins``;
    ``classes``: name, precision, recall, images, images predicted as the class, and those in both; ``confusions``:
    the most frequent pairs. A number that is not measured is None.
    """
    scores = class_scores(outcome)
    return {
        "loss": outcome.loss,
        "accuracy": outcome.accuracy,
        "count": outcome.count,
        "accuracy_interval": list(accuracy_interval(outcome.n_correct, outcome.count)),
        "balanced_accuracy": balanced_accuracy(scores),
        "top_k_accuracy": {str(k): accuracy for k, accuracy in top_k_accuracies(outcome).items()},
        "calibration_error": calibration_error(outcome),
        "calibration_bins": CALIBRATION_BINS,
        "classes": [
            {"class": name, "precision": score.precision, "recall": score.recall, **asdict(score)}
            for name, score in zip(classes, scores, strict=True)
        ],
        "confusions": [
            asdict(pair) | {"true": classes[pair.true], "predicted": classes[pair.predicted]}
            for pair in confusions(outcome)
        ],
    }
