"""Tolerances of a correct port: the rounding of one operation, measured on the port's own inputs.

The reference computes the operation in float64 and in float32. Their largest difference, in units of float32's eps,
says how much that operation amplifies rounding on these inputs; another order of the same sum errs by about as much.
Times a factor and the eps of the port's dtype, it is the tolerance::

    tolerance = eps(dtype) · (FACTOR · max |e64 − e32| / eps(float32) + ULPS · max |e64|)

The second term stands for results that float32 happens to round exactly.
"""

from __future__ import annotations

from math import inf, isnan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pattern = Literal["rounding", "structured", "sparse"]

FACTOR = 32.0
ULPS = 16.0
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
SPARSE = 0.05  # fraction of the numbers that a sparse error may touch
NEAR = 64.0  # times the tolerance: as far as an error looks like rounding


def tolerance_of(in_float64: Array, in_float32: Array, dtype: str) -> float:
    """Return the largest absolute difference that rounding in ``dtype`` explains."""
    with np.errstate(invalid="ignore", over="ignore"):
        deviation = in_float64 - in_float32.astype(np.float64)
    measured, scale = (largest(array[np.isfinite(array)]) for array in (deviation, in_float64))
    return EPS[dtype] * (FACTOR * measured / EPS["float32"] + ULPS * scale)


def direct_tolerances(exact: Array, rounded: Array, dtype: str) -> dict[str, Any]:
    """Return scale and tolerances of a tensor of a bundle, for ports in float64 and float32 that compare directly.

    :param exact: in float64.
    :param rounded: the same, computed in float32.
    :param dtype: of the bundle; numbers of a float32 bundle are no better than float32.
    """
    if exact.dtype.kind != "f":
        return {"scale": largest(exact), "deviation": 0.0, "tolerance": {"float64": 0.0, "float32": 0.0}}
    finite = np.isfinite(exact)
    scale = largest(exact[finite]) or 1.0
    precision = {"float64": dtype, "float32": "float32"}
    return {
        "scale": scale,
        "deviation": largest(exact[finite] - rounded[finite]) / scale,
        "tolerance": {of: tolerance_of(exact, rounded, precision[of]) / scale for of in ("float64", "float32")},
    }


def largest(array: Array) -> float:
    """Return the largest absolute value, 0 of an empty array, infinity if one is not a number."""
    if not array.size:
        return 0.0
    value = float(np.abs(array).max())
    return inf if isnan(value) else value


def differences(port: Array, expected: Array) -> Array:
    """Return |port − expected|, 0 where both are the same infinity or both NaN, infinity where one alone is finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference: Array = np.abs(port.astype(np.float64) - expected.astype(np.float64))
    same = (port == expected) | (np.isnan(port) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def pattern_of(difference: Array, tolerance: float) -> Pattern | None:
    """Return how differences above the tolerance look: as rounding, few of many, or all through; None: none is."""
    if not (wrong := difference > tolerance).any():
        return None
    if largest(difference) <= NEAR * tolerance:
        return "rounding"
    return "sparse" if wrong.mean() <= SPARSE and wrong.size > 1 else "structured"
