"""Channels-last memory under (N, C, H, W) shapes, as torch's ``channels_last``.

The channels of a pixel lie side by side, so a window of the image is a few long runs of memory, and a convolution's
matrices need no transposing. Shapes stay torch's; only strides differ::

    shape (N, C, H, W), pixel (h, w), channel c          memory of one image row:
    x[n, c, h, w]                                        | c0 c1 c2 | c0 c1 c2 | c0 c1 c2 |  ...
    nhwc(x)[n, h, w, c]   a C-contiguous view              pixel 0    pixel 1    pixel 2
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def nhwc(x: Array) -> Array:
    """Return the view (N, H, W, C) of x (N, C, H, W); contiguous if x is channels-last."""
    return x.transpose(0, 2, 3, 1)


def nchw(x: Array) -> Array:
    """Return the view (N, C, H, W) of x (N, H, W, C)."""
    return x.transpose(0, 3, 1, 2)


def channels_last(x: Array) -> Array:
    """Return x itself where it is channels-last or not 4-D, otherwise a channels-last copy."""
    return nchw(np.ascontiguousarray(nhwc(x))) if x.ndim == 4 else x


def is_channels_last(x: Array) -> bool:
    """Return whether x is (N, C, H, W) and its memory is contiguous in the order N, H, W, C."""
    return x.ndim == 4 and nhwc(x).flags.c_contiguous


def pixel_view(x: Array) -> Array:
    """Return the view of x (..., H, W, C) whose items are whole pixels, (..., H, W): each is copied as one.

    :raises ValueError: if the values of a pixel are not contiguous.
    """
    return x.view(_pixel_dtype(x.shape[-1] * x.itemsize))[..., 0]


@cache
def _pixel_dtype(size: int) -> np.dtype[np.void]:
    return np.dtype((np.void, size))


def zeros(shape: tuple[int, int, int, int], dtype: DTypeLike) -> Array:
    """Return a channels-last array of zeros of shape (N, C, H, W)."""
    N, C, H, W = shape
    return nchw(np.zeros((N, H, W, C), dtype))


# A vector with one value per channel is broadcast over rows of the image: NumPy's inner loops then run over W·C values.
# A broadcast over pixels would begin a new loop of C values at every pixel (2 to 3 times slower with 16 channels).


def as_rows(x: Array) -> Array:
    """Return x (N, C, H, W) as a matrix (N·H, W·C) of the images' rows; a view where x is channels-last."""
    N, C, H, W = x.shape
    return nhwc(x).reshape(N * H, W * C)


def repeat_per_pixel(per_channel: Array, width: int) -> Array:
    """Return a vector (C,) repeated for every pixel of a row: (W·C,)."""
    return per_channel[None].repeat(width, axis=0).reshape(-1)  # a third of the time of np.tile


def channel_sum(rows: Array, channels: int) -> Array:
    """Return Σ over the pixels of a matrix of rows, (C,): down the columns by BLAS, then over the pixels of one row."""
    total: Array = (np.ones(len(rows), rows.dtype) @ rows).reshape(-1, channels).sum(axis=0)
    return total
