"""Tolerances from measured rounding, and how differences look."""

from math import inf, nan

import numpy as np
import pytest

from glassnet.verify.golden.rounding import EPS, FACTOR, ULPS, differences, largest, pattern_of, tolerance_of


def test_tolerance_grows_with_the_measured_rounding_and_with_the_scale() -> None:
    exact = np.array([1.0, -4.0])
    rounded = exact + np.array([0.0, 3 * EPS["float32"]])
    assert tolerance_of(exact, exact, "float64") == EPS["float64"] * ULPS * 4
    expected = EPS["float64"] * (FACTOR * 3 + ULPS * 4)
    assert tolerance_of(exact, rounded, "float64") == pytest.approx(expected)
    assert tolerance_of(exact, rounded, "bfloat16") == pytest.approx(expected * EPS["bfloat16"] / EPS["float64"])


def test_tolerance_leaves_out_what_is_not_finite() -> None:
    exact, rounded = np.array([1.0, inf, nan]), np.array([1.0, 3.0, nan])
    assert tolerance_of(exact, rounded, "float32") == EPS["float32"] * ULPS


def test_differences_are_0_where_both_are_the_same_and_infinite_where_one_is_nan() -> None:
    port, expected = np.array([1.0, inf, nan, nan, 2.0]), np.array([1.5, inf, nan, 0.0, inf])
    assert differences(port, expected).tolist() == [0.5, 0.0, 0.0, inf, inf]


def test_largest_of_nothing_is_0_and_of_nan_infinite() -> None:
    assert largest(np.zeros(0)) == 0
    assert largest(np.array([1.0, nan])) == inf


@pytest.mark.parametrize(
    ("wrong", "size", "pattern"), [(0, 0.0, None), (3, 5.0, "rounding"), (3, 1e3, "sparse"), (50, 1e3, "structured")]
)
def test_pattern_tells_rounding_few_and_many(wrong: int, size: float, pattern: str | None) -> None:
    difference = np.zeros(100)
    difference[:wrong] = size
    assert pattern_of(difference, tolerance=1.0) == pattern
