"""The same thing done with several seeds: its mean and spread, and differences paired by seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """One number for each seed: their mean, and their standard deviation (n − 1), None of a single seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        return stdev(self.values) if len(self.values) > 1 else None

    def told(self, digits: int = 4) -> str:
        """0.9812 ± 0.0031"""
        if self.deviation is None:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True)
class Difference:
    """The mean over seeds of first − second, its 95 % interval, and the chance of one at least so far from 0 if there
    were none (Student's paired t-test, two-sided); None where a single seed tells nothing of chance."""

    mean: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None

    @property
    def sign(self) -> int:
        """1 or −1 where the interval lies on one side of 0, 0 where it does not; of a single seed its plain sign."""
        low, high = (self.mean if end is None else end for end in (self.low, self.high))
        return (low > 0) - (high < 0)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """What separates two settings, seed by seed: what a seed does to both, such as its batches, cancels.

    :param first, second: one number for each seed, in the same order of seeds.
    """
    gaps = [one - other for one, other in zip(first, second, strict=True)]
    mean, count = fmean(gaps), len(gaps)
    if count < 2:
        return Difference(mean)
    error = stdev(gaps) / math.sqrt(count)
    if error == 0:
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    from scipy.special import stdtr, stdtrit  # Student's distribution function, and its inverse

    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    return Difference(mean, mean - half, mean + half, 2 * float(stdtr(count - 1, -abs(mean) / error)))


def share_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Of shares, such as accuracies: Student's interval ends where no difference of shares can lie, at −1 and 1."""
    difference = paired_difference(first, second)
    if difference.low is None or difference.high is None:
        return difference
    return replace(difference, low=max(difference.low, -1.0), high=min(difference.high, 1.0))
