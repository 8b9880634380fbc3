"""Intervals and tests for accuracies of networks that classified the same test images.

SciPy's statistics take two seconds to import, so they are imported by the functions that need them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glassnet.classification import Outcome

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
    confidence = np.stack([outcome.confidence for outcome in outcomes], axis=1)
    differing = np.flatnonzero((predicted != predicted[:, :1]).any(axis=1))
    order = differing[np.argsort(-np.nan_to_num(confidence[differing].min(axis=1)), kind="stable")]
    labels = outcomes[0].labels
    return [
        Disagreement(
            int(index), int(labels[index]), tuple(predicted[index].tolist()), tuple(confidence[index].tolist())
        )
        for index in order
    ]


def mcnemar(only_first_correct: int, only_second_correct: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (Q. McNemar, 1947), from SciPy's binomial test.

    The null hypothesis is that both networks have the same accuracy. Then each image that only one of them classifies
    correctly belongs to either network with probability ½.

    :param only_first_correct: images that only the first network classifies correctly.
    :param only_second_correct: images that only the second network classifies correctly.
    """
    from scipy.stats import binomtest

    count = only_first_correct + only_second_correct
    return float(binomtest(only_first_correct, count).pvalue) if count else 1.0


def accuracy_difference_interval(only_first_correct: int, only_second_correct: int, count: int) -> tuple[float, float]:
    """Return the 95% confidence interval of the first network's accuracy minus the second's, on the same images.

    The adjusted Wald interval of D. G. Bonett and R. M. Price (2012), which SciPy lacks: one more image for each
    network, two more in all.

    :param only_first_correct: images that only the first network classifies correctly.
    :param only_second_correct: images that only the second network classifies correctly.
    :param count: all images.
    """
    first, second = (only_first_correct + 1) / (count + 2), (only_second_correct + 1) / (count + 2)
    middle = first - second
    half = 1.959964 * float(np.sqrt((first + second - middle * middle) / (count + 2)))
    return max(-1.0, middle - half), min(1.0, middle + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests (S. Holm, 1979), which SciPy lacks.

    If all null hypotheses hold, the probability that any adjusted value falls below 0.05 is at most 5%.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
