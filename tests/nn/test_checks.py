import re

import numpy as np
import pytest

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn import checks


def test_checks_take_numpy_integers() -> None:
    size = checks.check_int("in_channels of Conv2d", np.int64(3))
    assert size == 3
    assert type(size) is int
    sizes = checks.check_pair("stride of Conv2d", np.int32(2))
    assert sizes == (2, 2)
    assert [type(size) for size in sizes] == [int, int]


@pytest.mark.parametrize("value", [(1, 3), [1, 3]])
def test_check_pair_is_vertical_then_horizontal(value: object) -> None:
    assert checks.check_pair("stride of Conv2d", value) == (1, 3)


def test_checks_allow_the_minimum() -> None:
    assert checks.check_int("in_features of Linear", 1) == 1
    assert checks.check_pair("padding of Conv2d", 0, minimum=0) == (0, 0)


@pytest.mark.parametrize("value", [0, -2, 1.0, "3", None, True])
def test_check_int_refuses(value: object) -> None:
    message = f"in_channels of Conv2d must be an integer of at least 1. Got {value!r}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        checks.check_int("in_channels of Conv2d", value)


@pytest.mark.parametrize("value", [0, (2, 0), (1, 2, 3), (1,), 2.0, "same", None, (True, 2)])
def test_check_pair_refuses(value: object) -> None:
    message = f"stride of Conv2d must be an integer or a pair of integers of at least 1. Got {value!r}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        checks.check_pair("stride of Conv2d", value)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25)])
def test_check_probability_returns_a_float(value: float) -> None:
    assert checks.check_probability("p of Dropout", value) == value
    assert type(checks.check_probability("p of Dropout", value)) is float


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None])
def test_check_probability_refuses(value: object) -> None:
    message = f"p of Dropout must be a number between 0 and 1. Got {value!r}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        checks.check_probability("p of Dropout", value)


@pytest.mark.parametrize(
    ("shape", "channels", "allowed"),
    [
        ((2, 3, 4), None, "(N, C, H, W)"),
        ((2, 3, 4, 4), 1, "(N, 1, H, W)"),
        ((2, 3), 3, "(N, 3, H, W)"),
        ((2, 0, 4, 4), None, "(N, C, H, W), of which only N may be 0"),
        ((2, 3, 0, 4), 3, "(N, 3, H, W), of which only N may be 0"),
    ],
)
def test_check_images_refuses(shape: tuple[int, ...], channels: int | None, allowed: str) -> None:
    message = f"input of Conv2d must have shape {allowed}. Got {shape}."
    with pytest.raises(ShapeError, match=re.escape(message)):
        checks.check_images("Conv2d", np.zeros(shape), channels)
    for count in (0, 2):
        checks.check_images("Conv2d", np.zeros((count, 3, 4, 4)), 3)
