"""Statistics of one number for each seed: mean, standard deviation, and differences paired by seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from glassnet.formats import format_loss

CONFIDENCE = 0.95


@dataclass(frozen=True)
class SeedStats:
    """One number for each seed, with their mean and their standard deviation (n − 1; None of a single seed)."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """The standard deviation over the seeds (n − 1), or None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None

    def format(self, number: Callable[[float], str] = format_loss) -> str:
        """Return ``0.2451 ± 0.0031``, or the mean alone of a single seed.

        :param number: formats mean and deviation, such as ``format_accuracy``.
        """
        return number(self.mean) if self.std is None else f"{number(self.mean)} ± {number(self.std)}"


@dataclass(frozen=True)
class PairedDifference:
    """The mean over seeds of first − second, its 95% confidence interval, and the p-value of Student's paired t-test.

    Interval and p-value are None of a single seed.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None

    @property
    def sign(self) -> int:
        """1 or −1 where the interval is on one side of 0, otherwise 0; of a single seed the sign of the mean."""
        low, high = (self.mean if end is None else end for end in (self.low, self.high))
        return (low > 0) - (high < 0)

    def reversed(self) -> "PairedDifference":
        """Return second − first."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, mean=-self.mean, low=low, high=high)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Compare two settings seed by seed, so that what a seed does to both, such as its batches, cancels.

    :param first, second: one number for each seed, in the same order of seeds.
    """
    gaps = [x - y for x, y in zip(first, second, strict=True)]
    mean = fmean(gaps)
    if len(gaps) < 2:
        return PairedDifference(mean)
    if stdev(gaps) <= 1e-12 * abs(mean):  # equal but for rounding; the t-test divides by it
        return PairedDifference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    from scipy.stats import ttest_rel  # two seconds to import

    result = ttest_rel(first, second)
    interval = result.confidence_interval(CONFIDENCE)
    return PairedDifference(mean, float(interval.low), float(interval.high), float(result.pvalue))


def fraction_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Compare fractions, such as accuracies, seed by seed: the interval ends at −1 and 1."""
    difference = paired_difference(first, second)
    if difference.low is None or difference.high is None:
        return difference
    return replace(difference, low=max(difference.low, -1.0), high=min(difference.high, 1.0))
