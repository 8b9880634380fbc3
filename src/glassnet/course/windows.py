"""Random images with the arguments of a sliding window, and wrong ways to put windows back into an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import add_windows, slices_at

Array = NDArray[Any]

# What is new in each case, the simplest first: number of images, number of channels, and what differs from the default.
_CASES: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    ("one image, one channel", 1, 1, {}),
    ("several images", 3, 1, {}),
    ("several channels", 2, 2, {}),
    ("as many channels out as in", 2, 3, {}),
    ("a square kernel", 2, 2, {"kernel_size": (3, 3)}),
    ("padding 1", 2, 2, {"padding": 1}),
    ("stride 2", 2, 2, {"stride": 2}),
    ("dilation 2", 2, 2, {"dilation": 2}),
    ("padding 1 and stride 3", 3, 2, {"padding": 1, "stride": 3}),
    ("padding 2, stride 2 and dilation 2", 2, 3, {"padding": 2, "stride": 2, "dilation": 2}),
)


def window_cases(rng: np.random.Generator) -> Iterator[tuple[str, Array, dict[str, Any]]]:
    """Yield a label, an image x that is not square, and kernel_size, stride, padding and dilation of a window."""
    for label, images, channels, options in _CASES:
        kernel_size = ((2, 3), (3, 2))[rng.integers(2)]
        window: dict[str, Any] = {"kernel_size": kernel_size, "stride": 1, "padding": 0, "dilation": 1} | options
        height = int(rng.integers(6, 8)) + 2 * (window["dilation"] - 1)
        width = height + int(rng.choice([-1, 1, 2]))
        yield label, rng.standard_normal((images, channels, height, width)), window


def overwrite_later_windows(windows: Array, shape: Any, stride: int, padding: int, dilation: int) -> Array:
    """Put windows (N, C, kh, kw, Ho, Wo) into the image one after another, each over the ones before."""
    _, _, kh, kw, Ho, Wo = windows.shape
    padded = np.zeros(_padded(shape, padding))
    for i, j in np.ndindex(Ho, Wo):
        rows = slice(stride * i, stride * i + dilation * (kh - 1) + 1, dilation)
        columns = slice(stride * j, stride * j + dilation * (kw - 1) + 1, dilation)
        padded[:, :, rows, columns] = windows[:, :, :, :, i, j]
    return _cut(padded, shape, padding)


def overwrite_later_offsets(windows: Array, shape: Any, stride: int, padding: int, dilation: int) -> Array:
    """Put windows (N, C, kh, kw, Ho, Wo) into the image one offset after another, each over the ones before."""
    _, _, kh, kw, Ho, Wo = windows.shape
    padded = np.zeros(_padded(shape, padding))
    for u, v in np.ndindex(kh, kw):
        rows, columns = slices_at((u, v), (Ho, Wo), stride, dilation)
        padded[:, :, rows, columns] = windows[:, :, u, v]
    return _cut(padded, shape, padding)


def _cut(padded: Array, shape: Any, padding: int) -> Array:
    return padded[:, :, padding : padding + shape[2], padding : padding + shape[3]]


def _padded(shape: Any, padding: int) -> tuple[int, ...]:
    return (*shape[:2], shape[2] + 2 * padding, shape[3] + 2 * padding)


# Wrong ways to put windows into the image: for col2im, and for dx of the convolution and of max-pooling.
SCATTERING: tuple[tuple[str, Any], ...] = (
    ("overlapping windows were not added: = where it should be +=", overwrite_later_windows),
    ("overlapping windows were not added: = where it should be +=", overwrite_later_offsets),
    ("the padding were not cut off", lambda v, shape, s, p, d: add_windows(v, _padded(shape, p), s, 0, d)),
    (
        "the padding were cut off at one side only, the bottom and the right",
        lambda v, shape, s, p, d: add_windows(v, _padded(shape, p), s, 0, d)[:, :, : shape[2], : shape[3]],
    ),
    ("the windows moved by one pixel, not by the stride", lambda v, shape, s, p, d: add_windows(v, shape, 1, p, d)),
    ("the dilation were ignored", lambda v, shape, s, p, d: add_windows(v, shape, s, p, 1)),
)
