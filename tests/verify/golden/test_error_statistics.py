"""Which numbers of a tensor are wrong, in words."""

import numpy as np
import pytest

from glassnet.verify.golden.error_statistics import ErrorStatistics, measure

E = np.random.default_rng(0).standard_normal((3, 8, 6, 5))


def of(port: np.ndarray, expected: np.ndarray = E, of_images: bool = True) -> ErrorStatistics:
    return measure(port, expected, np.abs(port - expected) > 1e-9, of_images=of_images)


def changed(index: tuple[int | slice, ...]) -> np.ndarray:
    port = E.copy()
    port[index] = np.random.default_rng(1).standard_normal(port[index].shape)
    return port


ALL = slice(None)


@pytest.mark.parametrize(
    ("index", "places"),
    [
        ((ALL, 3), ("channel 3",)),
        ((ALL, slice(2, 4)), ("channels 2 and 3",)),
        ((1,), ("image 1",)),
        ((ALL, ALL, 0), ("row 0", "the pixels at the border")),
        ((ALL, ALL, slice(None, None, 5)), ("rows 0 and 5", "the pixels at the border")),
        ((ALL, ALL, 2, 3), ("row 2", "column 3")),
        ((ALL,), ()),
        ((1, 2, 0, 4), ("image 1", "channel 2", "row 0", "column 4")),
    ],
)
def test_measure_says_where_numbers_are_wrong(index: tuple[int | slice, ...], places: tuple[str, ...]) -> None:
    statistics = of(changed(index))
    assert statistics.places == places
    assert statistics.wrong == E[index].size
    assert statistics.count == E.size
    assert statistics.fraction == E[index].size / E.size


def test_measure_names_the_axes_of_parameters() -> None:
    assert of(changed((2,)), of_images=False).places == ("output channel 2",)
    bias = np.arange(1.0, 9.0)
    wrong = bias.copy()
    wrong[5] = 0
    assert of(wrong, bias, of_images=False).places == ("channel 5",)


def test_measure_finds_a_constant_ratio() -> None:
    statistics = of(1.5 * E)
    assert statistics.ratio == pytest.approx(1.5)
    assert statistics.sentence == f"{E.size} of {E.size} numbers are wrong; each is 1.5 times what it should be."


@pytest.mark.parametrize(("offset", "text"), [(0.25, "each is 0.25 too large."), (-2.0, "each is 2 too small.")])
def test_measure_finds_a_constant_offset(offset: float, text: str) -> None:
    statistics = of(E + offset)
    assert statistics.ratio is None
    assert statistics.offset == pytest.approx(offset)
    assert statistics.sentence.endswith(text)


def test_measure_gives_the_correlation_of_other_numbers() -> None:
    port = changed((ALL,))
    statistics = of(port)
    assert (statistics.ratio, statistics.offset) == (None, None)
    assert statistics.correlation == pytest.approx(np.corrcoef(port.ravel(), E.ravel())[0, 1])
    assert f"their correlation with what they should be is {statistics.correlation:.4f}." in statistics.sentence


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_measure_takes_numbers_that_are_not_finite(value: float) -> None:
    statistics = measure(np.full_like(E, value), E, np.ones(E.shape, bool), of_images=True)
    assert (statistics.ratio, statistics.offset, statistics.correlation) == (None, None, None)
    assert statistics.sentence == f"{E.size} of {E.size} numbers are wrong."


def test_measure_takes_constants_and_single_numbers() -> None:
    zeros = np.zeros(4)
    assert of(zeros + 1, zeros, of_images=False).offset == 1
    single = of(np.array(2.0), np.array(1.0))
    assert (single.wrong, single.count, single.ratio, single.places) == (1, 1, None, ())
