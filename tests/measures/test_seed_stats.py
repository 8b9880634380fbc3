import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from glassnet.formats import format_accuracy
from glassnet.measures.seed_stats import PairedDifference, SeedStats, fraction_difference, paired_difference

pairs = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=6)


def test_seed_stats_by_hand() -> None:
    spread = SeedStats((0.9, 1.0, 1.1))
    assert spread.mean == pytest.approx(1.0)
    assert spread.std == pytest.approx(0.1)
    assert spread.format(format_accuracy) == "100.0% ± 10.0%"


def test_seed_stats_of_one_seed_have_no_std() -> None:
    assert SeedStats((0.5,)).std is None
    assert SeedStats((0.5,)).format() == "0.5000"


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_paired_difference_is_the_paired_t_test(values: list[tuple[float, float]]) -> None:
    first, second = zip(*values, strict=True)
    assume(np.std(np.subtract(first, second)) > 1e-6)
    found = paired_difference(first, second)
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))


def test_paired_difference_cancels_the_effect_of_seeds() -> None:
    seeds, better = [0.0, 5.0, -7.0], [1.0, 6.1, -6.1]
    assert paired_difference(better, seeds).sign == 1
    assert paired_difference(seeds, better).sign == -1


@pytest.mark.parametrize(
    ("gap", "difference", "sign"),
    [(0.0, PairedDifference(0.0, 0.0, 0.0, 1.0), 0), (0.5, PairedDifference(0.5, 0.5, 0.5, 0.0), 1)],
)
def test_paired_difference_of_equal_gaps(gap: float, difference: PairedDifference, sign: int) -> None:
    found = paired_difference([gap, 1 + gap], [0.0, 1.0])
    assert found == difference
    assert found.sign == sign


def test_fraction_difference_interval_is_within_1() -> None:
    first, second = [0.9, 0.1], [0.1, 0.2]
    wide = paired_difference(first, second)
    assert wide.low < -1
    assert wide.high > 1
    assert fraction_difference(first, second) == PairedDifference(wide.mean, -1.0, 1.0, wide.p_value)
    assert fraction_difference([0.5, 0.51], [0.3, 0.3]) == paired_difference([0.5, 0.51], [0.3, 0.3])
    assert fraction_difference([0.5], [0.3]) == paired_difference([0.5], [0.3])


def test_paired_difference_of_one_seed_has_no_interval() -> None:
    assert paired_difference([1.0], [3.0]) == PairedDifference(-2.0, None, None, None)
    assert paired_difference([1.0], [3.0]).sign == -1
    assert paired_difference([1.0], [1.0]).sign == 0


def test_paired_difference_across_zero_has_no_sign() -> None:
    difference = paired_difference([1.0, -0.9, 0.3], [0.0, 0.0, 0.0])
    assert difference.low is not None
    assert difference.low < 0 < difference.mean
    assert difference.sign == 0
    assert math.isclose(difference.low + (difference.high or 0), 2 * difference.mean)


def test_paired_difference_takes_gaps_that_differ_by_rounding_as_equal() -> None:
    found = paired_difference([0.8, 0.9, 0.7], [0.7, 0.8, 0.6])  # 0.10000000000000009 and 0.09999999999999998
    assert found.low == found.high == found.mean == pytest.approx(0.1)
    assert found.p_value == 0


def test_reversed_swaps_the_sides() -> None:
    first, second = [0.9, 0.8, 0.85], [0.7, 0.75, 0.8]
    assert paired_difference(first, second).reversed() == paired_difference(second, first)
    assert paired_difference([0.9], [0.5]).reversed().low is None
