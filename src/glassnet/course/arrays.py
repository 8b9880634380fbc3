"""The comparison of a computed array with the expected one, and the description of a difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TOLERANCE = 1e-9  # of the largest expected value, for float64
LOW_PRECISION = 1e-4  # the same for results with fewer digits


def agrees(actual: Any, expected: Any, tolerance: float = TOLERANCE) -> bool:
    """Return whether two arrays or numbers have the same shape and values; None agrees with None alone."""
    if actual is None or expected is None:
        return actual is None and expected is None
    actual, expected = as_array(actual), as_array(expected)
    if actual is None or actual.shape != expected.shape:
        return False
    return bool(np.allclose(actual, expected, rtol=0, atol=tolerance * _scale(expected), equal_nan=True))


def as_array(value: Any) -> Array | None:
    """Return a number, a list or an array as an array of numbers; None if it is none."""
    try:
        array = np.asarray(value)
    except Exception:  # any class can be converted by code of its own
        return None
    return array if array.dtype.kind in "biuf" else None


def precision(actual: Any) -> float:
    """Return the tolerance for a result of this dtype."""
    array = as_array(actual)
    return LOW_PRECISION if array is not None and array.dtype in (np.float16, np.float32) else TOLERANCE


def describe_difference(name: str, actual: Any, expected: Any) -> str:
    """Return a sentence about the most striking difference of a result, without its expected values."""
    if expected is None:
        return f"{name} must be None here. Got {_kind(actual)}."
    array, expected = as_array(actual), as_array(expected)
    if array is None:
        return f"{name} must be {'an array' if expected.ndim else 'a number'}. Got {_kind(actual)}."
    if array.shape != expected.shape:
        return f"{name} must have shape {expected.shape}. Got {array.shape}{_same_values(array, expected)}."
    loses_digits = precision(array) > TOLERANCE and agrees(array, expected, LOW_PRECISION)
    if loses_digits or (array.dtype.kind != "f" and expected.dtype.kind == "f"):
        return f"{name} must have the dtype of the input, float64. Got {array.dtype}, which loses digits."
    if not np.isfinite(array).all() and np.isfinite(expected).all():
        return f"{name} has {_count(~np.isfinite(array))} that are NaN or infinite."
    for ndim, pattern, transform in _PATTERNS:
        if array.ndim >= ndim and agrees(array, transform(expected), precision(array)):
            return f"{name} looks as if {pattern}."
    return _wrong_values(name, array, expected)


def _wrong_values(name: str, actual: Array, expected: Array) -> str:
    if not expected.ndim:
        return f"{name} is too {'large' if actual > expected else 'small'}."
    factor = _common_factor(actual, expected)
    if factor is not None:
        return f"{name} is off by one factor: every value is {factor:.6g} times what it should be."
    error = np.abs(actual.astype(float) - expected) / _scale(expected)
    wrong = ~(error <= precision(actual))
    first = tuple(map(int, np.argwhere(wrong)[0]))
    has_inside = wrong.ndim == 4 and wrong[..., 1:-1, 1:-1].size > 0
    border = ", all at the border of the image" if has_inside and not wrong[..., 1:-1, 1:-1].any() else ""
    size = f"the largest difference is {error.max():.1g} of the largest value"
    return f"{name} is wrong in {_count(wrong)}{border}, first at index {first}; {size}."


def _common_factor(actual: Array, expected: Array) -> float | None:
    flat = expected.ravel()
    if not flat.size or not np.abs(flat).max() > 0:
        return None
    largest = int(np.abs(flat).argmax())
    factor = float(actual.ravel()[largest] / flat[largest])
    return factor if factor and agrees(actual, factor * expected, precision(actual) * max(1, abs(factor))) else None


def _same_values(actual: Array, expected: Array) -> str:
    if actual.size != expected.size:
        return ""
    if actual.ndim == expected.ndim > 1 and agrees(actual.T, expected, precision(actual)):
        return ": it is transposed"
    return ", with the right values" if agrees(actual.reshape(expected.shape), expected, precision(actual)) else ""


def _scale(expected: Array) -> float:
    """Return the largest finite value, at least 1e-6."""
    finite = np.abs(expected[np.isfinite(expected)].astype(float))
    return max(1e-6, float(finite.max())) if finite.size else 1.0


def _count(mask: Array) -> str:
    return f"{int(mask.sum())} of {mask.size} values"


def _kind(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__}"


_PATTERNS: tuple[tuple[int, str, Callable[[Array], Array]], ...] = (  # number of axes, hint, the wrong result
    (0, "its sign were wrong", lambda expected: -expected),
    (1, "it were never filled: all values are 0", np.zeros_like),
    (2, "it were transposed", lambda expected: expected.swapaxes(-1, -2)),
    (4, "it were flipped, upside down and left to right", lambda expected: expected[..., ::-1, ::-1]),
)
