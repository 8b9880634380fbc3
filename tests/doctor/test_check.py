import pytest

from glassnet.doctor.check import graded, rounded


@pytest.mark.parametrize(
    ("value", "digits", "told"), [(0.6512, 2, "0.65"), (9.184, 3, "9.18"), (1083.7, 2, "1,100"), (5e7, 2, "50,000,000")]
)
def test_numbers_are_written_out(value: float, digits: int, told: str) -> None:
    assert rounded(value, digits) == told


@pytest.mark.parametrize(("value", "sure"), [(0.9, None), (1.0, "medium"), (1.9, "medium"), (2.0, "high")])
def test_limits_belong_to_what_they_grade(value: float, sure: str | None) -> None:
    assert graded(value, medium=1.0, high=2.0) == sure
