import pytest

from glassnet.doctor.check import confidence_level, format_significant


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.6512, 2, "0.65"), (9.184, 3, "9.18"), (1083.7, 2, "1,100"), (5e7, 2, "50,000,000")]
)
def test_format_significant_has_no_exponent(value: float, digits: int, text: str) -> None:
    assert format_significant(value, digits) == text


@pytest.mark.parametrize(("value", "level"), [(0.9, None), (1.0, "medium"), (1.9, "medium"), (2.0, "high")])
def test_confidence_level_includes_its_limit(value: float, level: str | None) -> None:
    assert confidence_level(value, medium=1.0, high=2.0) == level
