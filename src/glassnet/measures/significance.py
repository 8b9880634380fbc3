"""Networks that saw the same test images, compared image by image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glassnet.measures.outcomes import Outcome

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Disagreement:
    """An image that the networks classify differently: its index in the split, and of each network the predicted class
    and its probability."""

    index: int
    true: int
    predicted: tuple[int, ...]
    probabilities: tuple[float, ...]


def disagreements(outcomes: Sequence[Outcome]) -> list[Disagreement]:
    """Return the images for which not all networks predict the same class.

    :param outcomes: of each network, on the same images.
    :returns: sorted by the lowest confidence of any network, highest first; ties in the order of the split.
    """
    predicted = np.stack([outcome.predicted for outcome in outcomes], axis=1)  # (N, networks)
    confidence = np.stack([outcome.probabilities.max(axis=1) for outcome in outcomes], axis=1)
    differing = np.flatnonzero((predicted != predicted[:, :1]).any(axis=1))
    order = differing[np.argsort(-np.nan_to_num(confidence[differing].min(axis=1)), kind="stable")]
    labels = outcomes[0].labels
    return [
        Disagreement(
            int(index), int(labels[index]), tuple(predicted[index].tolist()), tuple(confidence[index].tolist())
        )
        for index in order
    ]


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p-value of McNemar's test (Q. McNemar, 1947) of whether two networks are equally good.

    Images on which both are right, or both wrong, say nothing about which is better. Were they equally good, each
    other image would fall to either side like a fair coin: the p-value is the chance of a split at least as uneven.

    :param first_only: images on which the first network alone is right.
    :param second_only: images on which the second network alone is right.
    """
    count, fewer = first_only + second_only, min(first_only, second_only)
    ways = tail = 1  # count choose k, and the sum of these: whole numbers, so that nothing underflows
    for k in range(fewer):
        ways = ways * (count - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << count))


def accuracy_difference_interval(first_only: int, second_only: int, count: int) -> tuple[float, float]:
    """A 95 % interval for how much higher the first network's accuracy is, on the same ``count`` images.

    The adjusted Wald interval of D. G. Bonett and R. M. Price (2012): one more image on either side, two more in all.

    :param first_only: images on which the first network alone is right; ``second_only`` likewise.
    """
    first, second = (first_only + 1) / (count + 2), (second_only + 1) / (count + 2)
    middle = first - second
    half = 1.959964 * float(np.sqrt((first + second - middle * middle) / (count + 2)))
    return max(-1.0, middle - half), min(1.0, middle + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (S. Holm, 1979): where nothing but chance is at work, any of them falls
    below 0.05 in at most 5 % of all cases."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for an accuracy of ``right`` out of ``count`` images (E. B. Wilson, 1927)."""
    z = 1.959964
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
