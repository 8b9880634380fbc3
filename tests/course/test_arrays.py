"""Tests of the comparison of arrays and of the sentences about a difference."""

import numpy as np
import pytest

from glassnet.course.arrays import agrees, describe_difference

EXPECTED = np.random.default_rng(0).standard_normal((2, 3, 5, 5))


def corner(value: float) -> np.ndarray:
    actual = EXPECTED.copy()
    actual[1, 2, 0, 4] = value
    return actual


@pytest.mark.parametrize(
    ("actual", "expected", "agree"),
    [
        (EXPECTED * (1 + 1e-11), EXPECTED, True),
        (EXPECTED * (1 + 1e-7), EXPECTED, False),
        (EXPECTED.astype(np.float32), EXPECTED, False),
        (np.asfortranarray(EXPECTED), EXPECTED, True),
        (EXPECTED.tolist(), EXPECTED, True),
        (EXPECTED[0], EXPECTED, False),
        (0.5, np.array(0.5), True),
        (None, None, True),
        (None, EXPECTED, False),
        (EXPECTED, None, False),
        ("text", EXPECTED, False),
        (np.array([np.nan, 1]), np.array([np.nan, 1]), True),
        (np.array([np.nan, 1]), np.array([0.0, 1]), False),
        (np.array([np.inf, 1 + 1e-4]), np.array([np.inf, 1]), False),
        (np.array([3, 4]), np.array([3, 4]), True),
        (np.array([1e-5]), np.array([0.0]), False),
    ],
)
def test_agrees_compares_relative_to_the_largest_value(actual: object, expected: object, agree: bool) -> None:
    assert agrees(actual, expected) is agree


@pytest.mark.parametrize(
    ("actual", "sentence"),
    [
        (None, "dx must be an array. Got None."),
        ("text", "dx must be an array. Got str."),
        (EXPECTED[:, :, 1:], "dx must have shape (2, 3, 5, 5). Got (2, 3, 4, 5)."),
        (EXPECTED.reshape(6, 25), "dx must have shape (2, 3, 5, 5). Got (6, 25), with the right values."),
        (EXPECTED.T, "dx must have shape (2, 3, 5, 5). Got (5, 5, 3, 2): it is transposed."),
        (EXPECTED.astype(np.float32), "dx must have the dtype of the input, float64. Got float32, which loses digits."),
        (EXPECTED.astype(int), "dx must have the dtype of the input, float64. Got int64, which loses digits."),
        (corner(np.nan), "dx has 1 of 150 values that are NaN or infinite."),
        (-EXPECTED, "dx looks as if its sign were wrong."),
        (0 * EXPECTED, "dx looks as if it were never filled: all values are 0."),
        (EXPECTED.swapaxes(2, 3), "dx looks as if it were transposed."),
        (EXPECTED[:, :, ::-1, ::-1], "dx looks as if it were flipped, upside down and left to right."),
        (EXPECTED / 4, "dx is off by one factor: every value is 0.25 times what it should be."),
        (-3e6 * EXPECTED, "dx is off by one factor: every value is -3e+06 times what it should be."),
        (
            corner(100.0),
            "dx is wrong in 1 of 150 values, all at the border of the image, first at index (1, 2, 0, 4)",
        ),
        (EXPECTED**2, "dx is wrong in 150 of 150 values, first at index (0, 0, 0, 0); the largest difference is"),
    ],
)
def test_describe_difference_names_the_most_striking_one(actual: object, sentence: str) -> None:
    assert describe_difference("dx", actual, EXPECTED).startswith(sentence)


def test_describe_difference_of_a_number() -> None:
    assert describe_difference("loss", 0.3, 0.5) == "loss is too small."
    assert describe_difference("loss", 0.3, 0.0) == "loss is too large."
    assert describe_difference("loss", -0.3, 0.3) == "loss looks as if its sign were wrong."
    assert describe_difference("loss", None, 0.5) == "loss must be a number. Got None."


def test_describe_difference_of_a_result_that_must_be_none() -> None:
    assert describe_difference("db", np.zeros(3), None) == "db must be None here. Got ndarray."
