import math

import numpy as np
import pytest

from glassnet.measures.significance import (
    Disagreement,
    accuracy_difference_interval,
    disagreements,
    holm,
    mcnemar,
)
from tests.outcomes import outcome_of


@pytest.mark.parametrize("first", [0, 1, 2, 5, 14, 60])
@pytest.mark.parametrize("second", [0, 1, 3, 14, 25])
def test_mcnemar_is_the_two_sided_binomial_test_of_a_fair_coin(first, second):
    count, fewer = first + second, min(first, second)
    expected = min(1.0, 2 * sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count)
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_neither_underflows_nor_overflows_on_many_images():
    assert mcnemar(5000, 5300) == pytest.approx(0.003215819673645239, rel=1e-9)  # in whole numbers
    assert mcnemar(0, 5000) == 0.0  # 2⁻⁴⁹⁹⁹ is no float


def test_holm_by_hand():
    # 0.01 · 3 and 0.03 · 2; 0.04 · 1 would fall below the one before it, and may not
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.8, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_disagreements_are_sorted_by_the_lowest_confidence():
    first = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.6, 0.4]])
    second = np.array([[0.8, 0.2], [0.1, 0.9], [0.7, 0.3], [0.3, 0.7], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1, 0])
    found = disagreements([outcome_of(labels, first), outcome_of(labels, second)])
    assert [one.index for one in found] == [2, 1, 4]
    assert found[0] == Disagreement(2, true=1, predicted=(1, 0), probabilities=(0.9, 0.7))


def test_disagreements_include_two_different_errors():
    first, second = (outcome_of([0], np.array([row])) for row in ([0.1, 0.8, 0.1], [0.1, 0.1, 0.8]))
    assert len(disagreements([first, second])) == 1
    assert disagreements([first, first]) == []


def test_disagreements_take_nan_as_no_confidence():
    diverged = outcome_of([1, 1], np.full((2, 2), np.nan))
    found = disagreements([outcome_of([1, 1], np.array([[0.1, 0.9], [0.2, 0.8]])), diverged])
    assert [one.index for one in found] == [0, 1]


def test_accuracy_difference_interval_by_hand():
    # 13/102 − 3/102 ± 1.96 · √((16/102 − (10/102)²) / 102)
    low, high = accuracy_difference_interval(12, 2, 100)
    assert (low, high) == pytest.approx((0.098039 - 0.074465, 0.098039 + 0.074465), abs=1e-5)
    assert accuracy_difference_interval(2, 12, 100) == pytest.approx((-high, -low))
    assert accuracy_difference_interval(0, 0, 50)[0] < 0 < accuracy_difference_interval(0, 0, 50)[1]


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.02), (0.02, 0.02), (0.3, 0.1)])
def test_accuracy_difference_interval_covers_95_percent(first, second):
    draws = np.random.default_rng(0).multinomial(200, [first, second, 1 - first - second], 4000)
    ends = [accuracy_difference_interval(int(a), int(b), 200) for a, b, _ in draws]
    held = np.mean([low <= first - second <= high for low, high in ends])
    assert 0.94 <= held <= 0.985
