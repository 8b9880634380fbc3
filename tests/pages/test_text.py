import math

import pytest

from glassnet.pages.text import (
    count_columns,
    finite,
    first_names,
    format_cell,
    format_factor,
    format_p_value,
    format_points,
    format_seconds,
    format_shape,
    format_test,
    format_value,
    isolate,
    shorten,
)


def test_format_shape_joins_lengths() -> None:
    assert (format_shape((8, 32, 32)), format_shape([3])) == ("8×32×32", "3")


@pytest.mark.parametrize(
    ("factor", "text"), [(3.24, "3.2"), (9.96, "10.0"), (416.4, "416"), (12345.6, "12,346"), (5.2e7, "5e+07")]
)
def test_format_factor_keeps_two_digits(factor: float, text: str) -> None:
    assert format_factor(factor) == text


@pytest.mark.parametrize(("difference", "text"), [(0.0151, "1.5"), (-0.002, "−0.2"), (-0.0001, "0.0"), (0.0, "0.0")])
def test_format_points_is_in_percentage_points(difference: float, text: str) -> None:
    assert format_points(difference) == text


@pytest.mark.parametrize(("p_value", "text"), [(0.01234, "p = 0.012"), (1.0, "p = 1"), (0.00001, "p < 0.0001")])
def test_format_p_value_has_two_digits(p_value: float, text: str) -> None:
    assert format_p_value(p_value) == text


@pytest.mark.parametrize(
    ("p_value", "text"),
    [
        (0.049, "significant, paired t-test, p = 0.049"),
        (0.05, "not significant, paired t-test, p = 0.05"),
        (None, "not tested"),
    ],
)
def test_format_test_names_result_test_and_p(p_value: float | None, text: str) -> None:
    assert format_test(p_value, "paired t-test") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (1234, "1,234"),
        (0.123456, "0.1235"),
        (math.inf, "inf"),
        ("x", "x"),
        (True, "True"),
        (-0.0123456, "−0.01235"),
        (-1200, "−1,200"),
    ],
)
def test_format_cell(value, text):
    assert format_cell(value) == text


def test_format_value_has_no_separators_in_numbers() -> None:
    values = [(2026, "2026"), (True, "yes"), ([8, 8], "8, 8"), ([], "none"), (None, "–"), (0.1, "0.1"), ("sgd", "sgd")]
    assert [format_value(value) for value, _ in values] == [text for _, text in values]


def test_format_seconds_is_in_milliseconds_below_one_second() -> None:
    assert [format_seconds(seconds) for seconds in (0.0215, 0.5, 2.0, 200.0)] == [
        "22 ms",
        "500 ms",
        "2.0 s",
        "3 min 20 s",
    ]


def test_finite_replaces_nan_and_infinity_by_none() -> None:
    assert [finite(value) for value in (1.5, math.nan, math.inf, None)] == [1.5, None, None, None]


def test_first_names_ends_in_an_ellipsis_if_there_are_more() -> None:
    assert [first_names(list("abc"), 3), first_names(list("abcd"), 3)] == ["a, b, c", "a, b, c, …"]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("great grey owl", "great grey owl"),
        ("great grey owls!", "great gre…wls!"),
        ("two\nlines\t\there", "two lines here"),
        ("猫" * 7, "猫" * 7),  # two columns each
        ("猫" * 8, "猫猫猫猫…猫猫"),
        ("x\u202egnp.exe", "xgnp.exe"),
        ("\x1b[31mred", "[31mred"),
        ("e\u0301" * 14, "e\u0301" * 14),
        ("", ""),
    ],
)
def test_shorten_leaves_the_middle_out(text: str, short: str) -> None:
    assert shorten(text, 14) == short
    assert count_columns(short) <= 14


def test_isolate_keeps_numbers_beside_text_from_right_to_left() -> None:
    assert isolate("كلب") == "\u2068كلب\u2069"
    assert isolate("猫 dog") == "猫 dog"
