"""Statistics of the wrong numbers of a tensor, for a fault whose cause is not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glassnet.formats import join_words

FloatArray = NDArray[np.floating]

AXES = {  # of a tensor by its number of axes; an image's tensors begin with the image, parameters do not
    "image": {2: ("image", "feature"), 4: ("image", "channel", "row", "column")},
    "parameter": {
        1: ("channel",),
        2: ("output", "input"),
        4: ("output channel", "input channel", "kernel row", "kernel column"),
    },
}
MAX_LISTED = 6  # indices of an axis in a sentence
CLOSE = 0.9999  # a correlation above it says no more than that the error is small
SAME = 1e-3  # largest deviation from a constant ratio, as a fraction of the largest number


@dataclass(frozen=True)
class ErrorStatistics:
    """The wrong numbers of one tensor."""

    wrong: int
    count: int
    places: tuple[str, ...]  # "channel 3", "rows 0, 7"; empty if they are everywhere
    ratio: float | None  # port / expected, if it is the same for all numbers
    offset: float | None  # port − expected, if it is the same for all numbers
    correlation: float | None  # of the port's numbers with those expected; None if one of them is constant

    @property
    def fraction(self) -> float:
        """Wrong numbers / all numbers."""
        return self.wrong / self.count

    @property
    def sentence(self) -> str:
        """The statistics in one sentence."""
        where = f", all in {join_words(self.places)}" if self.places else ""
        parts = [f"{self.wrong:,} of {self.count:,} numbers are wrong{where}"]
        if self.ratio is not None:
            parts.append(f"each is {self.ratio:.6g} times what it should be")
        elif self.offset is not None:
            parts.append(f"each is {abs(self.offset):.6g} too {'large' if self.offset > 0 else 'small'}")
        elif self.correlation is not None and self.correlation < CLOSE:
            parts.append(f"their correlation with what they should be is {self.correlation:.4f}")
        return "; ".join(parts) + "."


def measure(port: FloatArray, expected: FloatArray, is_wrong: NDArray[np.bool_], *, of_images: bool) -> ErrorStatistics:
    """Measure the wrong numbers of a tensor.

    :param port: the port's numbers, in the shape of ``expected``.
    :param is_wrong: which numbers are, in the same shape.
    :param of_images: whether the first axis counts images.
    """
    port, expected = port.astype(np.float64), expected.astype(np.float64)
    names = AXES["image" if of_images else "parameter"].get(expected.ndim, ())
    places = tuple(_places(is_wrong, names)) if is_wrong.any() else ()
    is_finite = np.isfinite(port) & np.isfinite(expected)
    p, e = port[is_finite], expected[is_finite]
    constant = (_ratio(p, e), _offset(p, e)) if is_finite.all() and is_wrong.size > 1 else (None, None)
    return ErrorStatistics(int(is_wrong.sum()), is_wrong.size, places, *constant, _correlation(p, e))


def _places(is_wrong: NDArray[np.bool_], names: tuple[str, ...]) -> Iterator[str]:
    """Yield the axes along which few indices have wrong numbers, and whether these are at the borders alone."""
    for axis, name in enumerate(names):
        others = tuple(other for other in range(is_wrong.ndim) if other != axis)
        indices = np.flatnonzero(is_wrong.any(axis=others))
        if 0 < len(indices) <= min(MAX_LISTED, is_wrong.shape[axis] / 2):
            yield f"{name}{'s' * (len(indices) > 1)} {join_words(list(map(str, indices)))}"
    has_border = len(names) == 4 and "row" in names and min(is_wrong.shape[2:]) > 2
    if has_border and is_wrong.sum() > 1 and not is_wrong[:, :, 1:-1, 1:-1].any():
        yield "the pixels at the border"


def _ratio(port: FloatArray, expected: FloatArray) -> float | None:
    square = float(np.vdot(expected, expected))
    if not square:
        return None
    ratio = float(np.vdot(expected, port)) / square
    largest = float(np.abs(port).max(initial=0.0))
    is_constant = largest and float(np.abs(port - ratio * expected).max(initial=0.0)) <= SAME * largest
    return ratio if is_constant and abs(ratio - 1) > SAME else None


def _offset(port: FloatArray, expected: FloatArray) -> float | None:
    difference = port - expected
    offset = float(difference.mean())
    return offset if offset and float(np.abs(difference - offset).max()) <= SAME * abs(offset) else None


def _correlation(port: FloatArray, expected: FloatArray) -> float | None:
    p, e = (array - array.mean() if array.size else array for array in (port, expected))
    norm = float(np.linalg.norm(p) * np.linalg.norm(e))
    return float(np.vdot(p, e)) / norm if norm > 0 and np.isfinite(norm) else None
