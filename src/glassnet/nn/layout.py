"""Channels-last memory under (N, C, H, W) shapes, as torch's ``channels_last``.

A pixel's channels lie side by side, so a window of the picture is a few long runs of memory and
a convolution's matrices need no transposing. Shapes stay torch's; only strides differ.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def nhwc(x: Array) -> Array:
    """The view (N, H, W, C) of x (N, C, H, W); contiguous where x is channels-last."""
    return x.transpose(0, 2, 3, 1)


def nchw(x: Array) -> Array:
    """The view (N, C, H, W) of x (N, H, W, C)."""
    return x.transpose(0, 3, 1, 2)


def channels_last(x: Array) -> Array:
    """x itself where it is channels-last or not 4-D, otherwise a channels-last copy."""
    return nchw(np.ascontiguousarray(nhwc(x))) if x.ndim == 4 else x


def is_channels_last(x: Array) -> bool:
    return x.ndim == 4 and nhwc(x).flags.c_contiguous


def pixels(x: Array) -> Array:
    """The view of x (..., H, W, C) whose items are whole pixels, (..., H, W): they are copied as one.

    :raises ValueError: where the numbers of a pixel do not lie side by side.
    """
    return x.view(_pixel(x.shape[-1] * x.itemsize))[..., 0]


@cache
def _pixel(size: int) -> np.dtype[np.void]:
    return np.dtype((np.void, size))


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """An uninitialized channels-last array of shape (N, C, H, W)."""
    N, C, H, W = shape
    return nchw(np.empty((N, H, W, C), dtype))


def zeros(shape: tuple[int, int, int, int], dtype: DTypeLike) -> Array:
    """A channels-last array of zeros of shape (N, C, H, W)."""
    N, C, H, W = shape
    return nchw(np.zeros((N, H, W, C), dtype))


# What has one number per channel meets the picture line by line: NumPy's inner loops then run over W·C numbers,
# where a broadcast over C alone would begin a new loop at every pixel (2 to 3 times slower with 16 channels).


def lines(x: Array) -> Array:
    """x (N, C, H, W) as a matrix (N·H, W·C) of the pictures' lines; a view where x is channels-last."""
    N, C, H, W = x.shape
    return nhwc(x).reshape(N * H, W * C)


def along_line(per_channel: Array, width: int) -> Array:
    """A vector (C,) repeated for every pixel of a line: (W·C,)."""
    return per_channel[None].repeat(width, axis=0).reshape(-1)  # a third of the time of np.tile


def channel_sum(matrix: Array, channels: int) -> Array:
    """Σ over the pixels of a matrix of lines, (C,): down the columns by BLAS, then over the pixels of one line."""
    total: Array = (np.ones(len(matrix), matrix.dtype) @ matrix).reshape(-1, channels).sum(axis=0)
    return total


def channel_dot(a: Array, b: Array, channels: int) -> Array:
    """Σ over the pixels of a·b for two matrices of lines, (C,)."""
    total: Array = np.einsum("lk,lk->k", a, b).reshape(-1, channels).sum(axis=0)
    return total
