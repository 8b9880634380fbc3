"""Value range of 16-bit, int32 and float images: measured on a data set, and brought to 0..255."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from glassnet.data.images.image_opening import UnreadableError, open_image

_Floats = TypeVar("_Floats", NDArray[np.float32], NDArray[np.float64])

Quantiles = tuple[NDArray[np.float64], bool]

_MAX_SAMPLED_PIXELS = 2**16  # of one image
_IMAGE_QUANTILES = (0.0, 0.001, 0.999, 1.0)
_DATA_QUANTILES = (0.01, 0.99)


def measure_quantiles(data: bytes, max_pixels: int) -> Quantiles | None:
    """Return what ``choose_value_range`` needs to know of a 16-bit, int32 or float image; None for an unreadable one.

    The smallest value, the .1% and the 99.9% quantile and the largest value of about 65,536 evenly spaced pixels, and
    whether they are floats. Call it inside ``quiet_pillow``.

    :param data: the bytes of the file.
    """
    try:
        with open_image(data, max_pixels) as image:
            image.load()
            values = np.asarray(image)
            step = int(np.ceil(np.sqrt(values.size / _MAX_SAMPLED_PIXELS)))
            sample = check_finite(values[::step, ::step].astype(np.float64))
            return np.quantile(sample, _IMAGE_QUANTILES), values.dtype.kind == "f"
    except UnreadableError:
        return None


def choose_value_range(measured: Sequence[Quantiles]) -> tuple[float, float] | None:
    """Return the range of values that the measured images use, or None if there are none.

    The 1% quantile of their .1% quantiles and the 99% quantile of their 99.9% quantiles. If both are equal, the
    smallest and the largest value. A range that covers at least half of the natural range of the type is replaced by
    that: 0 to 65535 for integers, 0 to 1 or 0 to 255 for floats.
    """
    if not measured:
        return None
    smallest, lower, upper, largest = np.transpose([quantiles for quantiles, _ in measured])
    low, high = np.quantile(lower, _DATA_QUANTILES[0]), np.quantile(upper, _DATA_QUANTILES[1])
    if low == high:
        low, high = smallest.min(), largest.max()
    is_float = any(is_float for _, is_float in measured)
    return _choose_range(float(low), float(high), natural_top(float(largest.max()), is_float))


def _choose_range(low: float, high: float, top: float) -> tuple[float, float]:
    is_natural = 0 <= low <= high <= top
    if is_natural and (high - low >= top / 2 or low == high):
        return 0.0, top
    return (low, high) if low < high else (low, low + 1)


def natural_top(largest: float, is_float: bool) -> float:
    """Return the value of white by the type alone: 65535 for integers, 1 or 255 for floats."""
    return (1.0 if largest <= 1 else 255.0) if is_float else 65535.0


def to_eight_bits(values: NDArray[np.generic], value_range: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Scale deep gray to 0..255; values outside the range are clipped.

    :param value_range: the values that become 0 and 255, or None for the natural range of the type.
    :raises UnreadableError: if a value is not finite, or outside the natural range without a value_range.
    """
    if value_range is not None and values.dtype.kind == "u":
        return _scale_table(value_range)[values.astype(np.uint16, copy=False)]  # 10 times as fast as computing
    gray = check_finite(values.astype(np.float32))
    return _scale(gray, value_range or _natural_range(gray, values.dtype.kind == "f"))


def _scale(gray: NDArray[np.float32], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = value_range
    gray -= np.float32(low)
    gray *= np.float32(255 / (high - low))
    np.rint(np.clip(gray, 0, 255, out=gray), out=gray)
    return gray.astype(np.uint8)


@functools.lru_cache(maxsize=4)
def _scale_table(value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the 8 bits of each of the 65536 values."""
    return _scale(np.arange(65536, dtype=np.float32), value_range)


def _natural_range(gray: NDArray[np.float32], is_float: bool) -> tuple[float, float]:
    low, high = float(gray.min()), float(gray.max())
    top = natural_top(high, is_float)
    if not 0 <= low <= high <= top:
        allowed = "0 to 1 or 0 to 255" if is_float else "0 to 65535"
        raise UnreadableError(f"pixels from {low:g} to {high:g}, outside {allowed}: give their value_range")
    return 0.0, top


def check_finite(gray: _Floats) -> _Floats:
    """Return the pixels.

    :raises UnreadableError: if one is NaN or infinite.
    """
    if not np.isfinite(gray).all():
        raise UnreadableError("pixels that are NaN or infinite")
    return gray
