"""Causes in pooling: windows at other places, other means, and gradients that reach other pixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn import functional
from glassnet.verify.golden.causes.alternative import (
    Alternative,
    InapplicableError,
    only_backward,
    scaled,
    with_backward,
    with_output,
)
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]
Pair = tuple[int, int]

MAX, MEAN, WHOLE = "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"
SHIFTS: tuple[Pair, ...] = ((1, 1), (-1, -1), (1, 0), (0, 1))


def _window(site: Site) -> tuple[Pair, Pair, Pair, Pair]:
    """Return kernel_size, stride, padding and dilation, each for rows and columns."""
    attributes = {"dilation": 1, **site.operation.attributes}
    kernel, stride, padding, dilation = (
        functional.pair(attributes[name]) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    return tuple(kernel), tuple(stride), tuple(padding), tuple(dilation)


def _area(site: Site) -> int:
    if site.kind == WHOLE:
        return int(site.x.shape[2] * site.x.shape[3])
    (height, width), *_ = _window(site)
    return height * width


def _pool(site: Site, x: Array, borders: Any) -> Array:
    """Return the maximum or the mean of windows of x with other borders, ((top, bottom), (left, right))."""
    kernel, stride, _, dilation = _window(site)
    is_max = site.kind == MAX
    windows = functional.windows_of(x, kernel, stride, borders, dilation, -np.inf if is_max else 0.0)
    pooled: Array = windows.max(axis=(2, 3)) if is_max else windows.mean(axis=(2, 3))
    return pooled


# Windows at other places.


def _shifted(site: Site, shift: Pair, is_padding: bool) -> Computed:
    """Let all windows start some pixels later: padding on the other side, or another phase where there is none."""
    padding = _window(site)[2]
    fits = all(abs(by) <= p for by, p in zip(shift, padding, strict=True))
    if fits != is_padding or (not fits and min(shift) < 0):
        raise InapplicableError
    rows, columns = (max(by - p, 0) for by, p in zip(shift, padding, strict=True))
    borders = [(max(p - by, 0), p + by) for by, p in zip(shift, padding, strict=True)]
    return with_output(site, _pool(site, site.x[:, :, rows:, columns:], borders))


def _rounded_up(site: Site) -> Computed:
    """Let the last window reach beyond the border if something of the image is left (ceil_mode)."""
    kernel, stride, padding, dilation = _window(site)
    missing = [
        -(n + 2 * p - d * (k - 1) - 1) % s
        for n, k, s, p, d in zip(site.x.shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    if not any(missing):
        raise InapplicableError
    borders = [(p, p + more) for p, more in zip(padding, missing, strict=True)]
    output = _pool(site, site.x, borders)
    if site.kind == MEAN:  # a mean of the pixels and the padding, without what is beyond both
        inside = np.ones((1, 1, *(n + 2 * p for n, p in zip(site.x.shape[2:], padding, strict=True))), site.x.dtype)
        output = output / _pool(site, inside, [(0, more) for more in missing])
    return with_output(site, output)


# What is made of a window.


def _padded_with_zeros(site: Site) -> Computed:
    kernel, stride, (rows, columns), dilation = _window(site)
    padded = np.pad(site.x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    y, saved = functional.max_pool2d(padded, kernel, stride, 0, dilation)
    height, width = site.x.shape[2:]

    def backward(dy: Array) -> Gradients:
        dx = functional.max_pool2d_backward(dy, saved)
        return Gradients((dx[:, :, rows : rows + height, columns : columns + width],))

    return Computed(y, backward)


def _mean_of_window(site: Site) -> Computed:
    kernel, stride, padding, dilation = _window(site)
    if dilation != (1, 1):
        raise InapplicableError
    y, saved = functional.avg_pool2d(site.x, kernel, stride, padding)
    return Computed(y, lambda dy: Gradients((functional.avg_pool2d_backward(dy, saved),)))


def _maximum(site: Site) -> Computed:
    if site.kind == WHOLE:
        return with_output(site, site.x.max(axis=(2, 3), keepdims=True))
    kernel, stride, padding, _ = _window(site)
    y, saved = functional.max_pool2d(site.x, kernel, stride, padding)
    return Computed(y, lambda dy: Gradients((functional.max_pool2d_backward(dy, saved),)))


def _sum(site: Site) -> Computed:
    right, area = compute(site), _area(site)
    return Computed(right.output * area, lambda dy: scaled(right.backward(dy), area))


def _counting(site: Site, count_include_pad: bool) -> Computed:
    return compute(site.with_attributes(count_include_pad=count_include_pad))


# Gradients of the maximum.


def _to_all_ties(site: Site) -> Computed:
    kernel, stride, padding, dilation = _window(site)
    windows = functional.windows_of(site.x, kernel, stride, padding, dilation, border=-np.inf)
    is_winner = windows == windows.max(axis=(2, 3), keepdims=True)

    def change(_: Gradients, dy: Array) -> Gradients:
        dwindows = is_winner * dy[:, :, np.newaxis, np.newaxis]
        return Gradients((functional.add_windows(dwindows, site.x.shape, stride, padding, dilation),))

    return with_backward(site, change)


def _spread(site: Site, is_divided: bool) -> Computed:
    mean = _mean_of_window(site)
    factor = 1 if is_divided else _area(site)
    return with_backward(site, lambda _, dy: scaled(mean.backward(dy), factor))


def _overwritten(site: Site) -> Computed:
    """Let a pixel that is the maximum of several windows get the gradient of the last one only."""
    kernel, stride, padding, dilation = _window(site)
    numbers = np.arange(site.x[0, 0].size, dtype=np.float64).reshape(1, 1, *site.x.shape[2:])
    pixels = functional.windows_of(numbers, kernel, stride, padding, dilation, border=-1)
    windows = functional.windows_of(site.x, kernel, stride, padding, dilation, border=-np.inf)
    N, C, kh, kw, *size = windows.shape
    winner = windows.reshape(N, C, kh * kw, *size).argmax(axis=2)[:, :, np.newaxis]
    all_pixels = np.broadcast_to(pixels.reshape(1, 1, kh * kw, *size), (N, C, kh * kw, *size))
    targets = np.take_along_axis(all_pixels, winner, axis=2).reshape(N * C, -1).astype(np.intp)

    def change(_: Gradients, dy: Array) -> Gradients:
        dx = np.zeros((N * C, numbers.size), dy.dtype)
        for plane, target, gradient in zip(dx, targets, dy.reshape(N * C, -1), strict=True):
            plane[target] = gradient  # of equal targets the last one counts
        return Gradients((dx.reshape(site.x.shape),))

    return with_backward(site, change)


def _alternatives() -> Iterator[Alternative]:
    for key, is_padding in (("padding side", True), ("stride phase", False)):
        for shift in SHIFTS:
            shifted = partial(_shifted, shift=shift, is_padding=is_padding)
            yield Alternative(key, (MAX, MEAN), "forward", shifted)
    yield Alternative("ceil mode", (MAX, MEAN), "forward", _rounded_up)
    yield Alternative("maximum padded with zeros", (MAX,), "forward", _padded_with_zeros)
    yield Alternative("maximum padded with zeros", (MAX,), "backward", only_backward(_padded_with_zeros))
    yield Alternative("average instead of maximum", (MAX,), "forward", _mean_of_window)
    yield Alternative("maximum instead of average", (MEAN, WHOLE), "forward", _maximum)
    yield Alternative("sum instead of mean", (MEAN, WHOLE), "forward", _sum)
    yield Alternative("sum instead of mean", (MEAN, WHOLE), "backward", only_backward(_sum))
    for key, is_counted in (("padding not counted", False), ("padding counted", True)):
        counting = partial(_counting, count_include_pad=is_counted)
        yield Alternative(key, (MEAN,), "forward", counting)
        yield Alternative(key, (MEAN,), "backward", only_backward(counting))
    yield Alternative("pooling gradient to all ties", (MAX,), "backward", _to_all_ties)
    for is_divided in (True, False):
        yield Alternative("pooling gradient spread", (MAX,), "backward", partial(_spread, is_divided=is_divided))
    yield Alternative("pooling gradient overwritten", (MAX,), "backward", _overwritten)


ALTERNATIVES = tuple(_alternatives())
